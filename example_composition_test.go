package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sallyport-go/auth"
)

// parts contains the components of a host that has its own handlers and makes no Service.
type parts struct {
	tokens      *auth.TokenIssuer
	credentials *auth.CredentialVerifier
	github      *auth.GitHubConnector
}

// compose creates the components over one store. The components share the EventLog and the issuer.
func compose(store auth.Store, events *auth.EventLog) (parts, error) {
	signing, err1 := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	sealing, err2 := auth.NewSymmetricKey("2026-01", []byte(rand.Text()+rand.Text()))
	if err := errors.Join(err1, err2); err != nil {
		return parts{}, err
	}
	tokens, err := auth.NewTokenIssuer(store, "https://api.example.com", []auth.SigningKey{signing},
		auth.TokenConfig{Events: events})
	if err != nil {
		return parts{}, err
	}
	credentials, err1 := auth.NewCredentialVerifier(store, tokens, auth.CredentialConfig{Events: events})
	github, err2 := auth.NewGitHubConnector(store, tokens, []auth.SymmetricKey{sealing}, auth.GitHubConfig{
		ClientID:     "Iv1.0123456789abcdef",
		ClientSecret: auth.NewSecret("the OAuth app's secret"),
		CallbackURL:  "https://api.example.com/github/callback",
		Events:       events,
	})
	return parts{tokens, credentials, github}, errors.Join(err1, err2)
}

// signIn verifies the pair and opens a session. If the pair is valid but its user is not allowed to
// sign in, signIn returns the same error as for a wrong pair.
func (p parts) signIn(ctx context.Context, pair auth.KeyPair) (auth.Token, error) {
	key, user, err := p.credentials.Verify(ctx, pair)
	if err != nil {
		return auth.Token{}, err
	}
	if err := p.github.StillAdmitted(ctx, user); err != nil {
		return auth.Token{}, hideReason(err)
	}
	token, err := p.tokens.Issue(ctx, auth.IssueParams{UserID: user.ID, Method: auth.MethodAccessKey,
		AccessKeyID: key.ID, Scopes: key.Scopes})
	return token, hideReason(err)
}

// hideReason returns ErrInvalidCredentials in place of an error that would reveal that the pair is
// valid.
func hideReason(err error) error {
	for _, reason := range []error{auth.ErrNotFound, auth.ErrUserDisabled, auth.ErrGitHubNotAllowed} {
		if errors.Is(err, reason) {
			return auth.ErrInvalidCredentials
		}
	}
	return err
}

// authenticate is the host's own middleware.
func (p parts) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := auth.BearerToken(r)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		caller, err := p.tokens.Verify(r.Context(), token)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), caller)))
	})
}

// revokeKey is one of the host's own handlers. It revokes the access key in the query if the key
// belongs to the caller.
func (p parts) revokeKey(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	if err := p.credentials.Revoke(r.Context(), caller.Authority(), r.URL.Query().Get("key")); err != nil {
		auth.WriteError(w, r, err)
	}
}

// A host makes the three components one by one. They work together as in a Service. For example,
// they emit events to one EventLog. If a key is revoked, the tokens of its sessions are rejected at
// once.
func Example_composition() {
	ctx := context.Background()
	events := auth.NewEventLog(auth.EventLogConfig{
		OnEvent: func(e auth.Event) { fmt.Printf("event: %s, actor %q\n", e.Kind, e.ActorID) },
		Hooks: auth.Hooks{Verify: func(_ context.Context, err error, _ bool, _ time.Duration) {
			fmt.Println("token accepted:", err == nil)
		}},
	})
	p, err := compose(withUser("u1", "alice"), events)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := p.credentials.Issue(ctx, auth.ByHost("setup"), "u1", auth.KeyOptions{Label: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := p.signIn(ctx, pair)
	if err != nil {
		log.Fatal(err)
	}
	handler := p.authenticate(http.HandlerFunc(p.revokeKey))
	for range 2 { // the first request revokes the key and the session of the token
		r := httptest.NewRequest(http.MethodDelete, "/keys?key="+pair.AccessKey, nil)
		r.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println("status:", w.Code)
	}

	serving, stop := context.WithCancel(ctx)
	stop()              // so that Run delivers the queued events and returns
	events.Run(serving) // a real host calls Run in a goroutine while it serves requests
	// Output:
	// token accepted: true
	// status: 200
	// token accepted: false
	// status: 401
	// event: key.issued, actor ""
	// event: sign_in.accepted, actor "u1"
	// event: key.revoked, actor "u1"
	// event: token.rejected, actor ""
}
