package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sallyport-go/auth"
)

// parts are the components of a host that mounts none of the documented calls.
type parts struct {
	tokens      *auth.TokenIssuer
	credentials *auth.CredentialVerifier
	github      *auth.GitHubConnector
}

// compose makes the parts over one store. They share the events and the issuer.
func compose(store auth.Store, events *auth.EventLog) (parts, error) {
	signing, err1 := auth.NewHS256Key("2026-01", []byte("a secret of 32 random bytes, say"))
	sealing, err2 := auth.NewSymmetricKey("2026-01", []byte("another one of 32 random bytes, say"))
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

// signIn is the host's own sign-in: it verifies the pair and opens a session.
func (p parts) signIn(ctx context.Context, pair auth.KeyPair) (auth.Token, error) {
	key, user, err := p.credentials.Verify(ctx, pair)
	if err != nil {
		return auth.Token{}, err
	}
	return p.tokens.Issue(ctx, auth.IssueParams{UserID: user.ID, Method: auth.MethodAccessKey, AccessKeyID: key.ID})
}

// The three components composed by hand behave as in a Service: they report to one EventLog,
// and revoking a key rejects the tokens of its sessions at once.
func Example_composition() {
	ctx := context.Background()
	events := auth.NewEventLog(auth.EventLogConfig{
		OnEvent: func(e auth.Event) { fmt.Println("event:", e.Kind) },
		Hooks: auth.Hooks{Verify: func(_ context.Context, err error, _ bool, _ time.Duration) {
			fmt.Println("token accepted:", err == nil)
		}},
	})
	p, err := compose(withUser("u1", "alice"), events)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := p.credentials.Issue(ctx, "u1", auth.KeyOptions{Label: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := p.signIn(ctx, pair)
	if err != nil {
		log.Fatal(err)
	}
	p.tokens.Verify(ctx, token.Bearer.Reveal())
	if err := p.credentials.Revoke(ctx, pair.AccessKey); err != nil {
		log.Fatal(err)
	}
	p.tokens.Verify(ctx, token.Bearer.Reveal())
	err = p.github.Unlink(ctx, "u1")
	fmt.Println("no account to unlink:", errors.Is(err, auth.ErrNotFound))

	serving, stop := context.WithCancel(ctx)
	stop()              // the host has served its last request:
	events.Run(serving) // in a goroutine of the host's own until then
	// Output:
	// token accepted: true
	// token accepted: false
	// no account to unlink: true
	// event: key.issued
	// event: sign_in.accepted
	// event: key.revoked
}
