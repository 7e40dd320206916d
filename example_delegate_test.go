package auth_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// newDelegatingService returns a service that can give agents tokens for the reports.
func newDelegatingService() (*auth.Service, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	key, err := auth.NewEdDSAKey("", private)
	if err != nil {
		return nil, err
	}
	return auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Tokens: auth.TokenConfig{
			Audiences: []string{"https://reports.example.com"},
			Scopes:    []string{"reports:read", "reports:write"},
		},
		Proxies: auth.NoProxies(),
		Logger:  slog.New(slog.DiscardHandler),
	})
}

// startAgent returns the handler of the call with which a signed-in user starts the agent. The function
// start runs the agent, which calls the reports with the token.
func startAgent(svc *auth.Service, agentID string, start func(token auth.Secret)) http.Handler {
	return svc.RequireScope("reports:read", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := auth.IdentityFromContext(r.Context())
		delegated, err := svc.Tokens().Delegate(r.Context(), caller, auth.Delegation{
			For:      agentID,
			Audience: "https://reports.example.com",
			Scopes:   auth.NewScopes("reports:read"),
		})
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		start(delegated.Bearer)
		w.WriteHeader(http.StatusAccepted)
	}))
}

// newAgentReports returns the handler of the other service, which verifies the tokens.
func newAgentReports(verifier *auth.RemoteVerifier) http.Handler {
	list := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := auth.IdentityFromContext(r.Context())
		io.WriteString(w, "the reports of "+caller.Username)
		if caller.Actor != "" {
			io.WriteString(w, ", for an agent")
		}
	})
	mux := http.NewServeMux()
	mux.Handle("GET /reports", verifier.RequireScope("reports:read", list))
	mux.Handle("POST /reports", verifier.RequireScope("reports:write", list))
	return mux
}

// An agent reads the reports of the user alice at another service. Its token allows nothing else.
func ExampleTokenIssuer_Delegate() {
	ctx := context.Background()
	svc, err := newDelegatingService()
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS:     svc.Tokens().JWKS(),
		Issuer:   "https://api.example.com",
		Audience: "https://reports.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	reports := newAgentReports(verifier)

	alice, err1 := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	agent, err2 := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{
		Username:  "report agent",
		IsService: true,
		Audiences: []string{"https://reports.example.com"},
	})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}

	start := func(token auth.Secret) {
		bearer := "Bearer " + token.Reveal()
		fmt.Println(send(reports, "GET", "/reports", "", bearer).Body)
		fmt.Println(send(reports, "POST", "/reports", "", bearer).Code)
		fmt.Println(send(svc.Handler(), "GET", "/auth/user", "", bearer).Code) // only for the reports
	}
	api := startAgent(svc, agent.User.ID, start)
	fmt.Println(send(api, "POST", "/agent", "", bearer(ctx, svc, alice.Pair)).Code)
	// Output:
	// the reports of alice, for an agent
	// 403
	// 401
	// 202
}

// A service in the same process as the issuer needs no RemoteVerifier, and sees revocations at once.
func ExampleTokenIssuer_VerifyFor() {
	ctx := context.Background()
	svc, err := newDelegatingService()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.Login(ctx, alice.Pair, auth.LoginOptions{Audience: "https://reports.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := svc.Tokens().VerifyFor(ctx, "https://reports.example.com", token.Bearer.Reveal())
	fmt.Println(caller.Username, err)
	_, err = svc.Tokens().Verify(ctx, token.Bearer.Reveal()) // the service itself does not accept it
	fmt.Println(errors.Is(err, auth.ErrTokenRejected))
	// Output:
	// alice <nil>
	// true
}
