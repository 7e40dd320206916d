package main

import (
	"encoding/json"
	"net/http"

	"github.com/sallyport-go/auth"
)

// The scopes of the service. An access key can be limited to them: see docs/who-may-do-what.md.
const (
	scopeRead  = "notes:read"
	scopeWrite = "notes:write"
)

// routes returns a handler for the calls of the library, the service's own routes, and the pages.
func routes(svc *auth.Service, origin string) (http.Handler, error) {
	pages, err := openConsole(svc, origin)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	svc.Mount(mux, auth.GroupBrowser)
	mux.Handle("GET /", pages)
	mux.Handle("GET /api/v1/your-protected-endpoint",
		svc.RequireScope(scopeRead, http.HandlerFunc(protected)))
	mux.Handle("GET /api/v1/healthcheck", svc.ReadinessHandler())
	return mux, nil
}

// protected responds with the user ID and the username of the caller.
func protected(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, map[string]string{"user_id": caller.UserID, "username": caller.Username})
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
