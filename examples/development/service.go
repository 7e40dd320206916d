package main

import (
	"fmt"
	"net/http"

	"github.com/sallyport-go/auth"
)

// newAPI returns the service, and the handler of its calls and of its own routes. In production, the store is
// one of package sqlstore. In a test, it is one of package memstore.
func newAPI(store auth.Store, cfg auth.Config) (*auth.Service, http.Handler, error) {
	cfg.Tokens.Scopes = []string{"reports:read", "reports:write"}
	svc, err := auth.New(store, cfg)
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	mux.Handle("GET /reports", svc.RequireScope("reports:read", http.HandlerFunc(reports)))
	mux.Handle("PUT /reports", svc.RequireScope("reports:write", http.HandlerFunc(write)))
	mux.Handle("DELETE /reports", svc.Authenticate(svc.RequireSuperUser(http.HandlerFunc(purge))))
	return svc, mux, nil
}

func reports(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprintln(w, "the reports of", caller.Username)
}

func write(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func purge(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
