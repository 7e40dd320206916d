// Package notes is a small complete product: a service in which people keep notes, with sign-in. People
// manage their account in the console, at /console/. Programs and the command line call the API:
//
//	GET    /notes?before=ID   the newest 100 notes of the caller, from before the note with the ID
//	POST   /notes             {"text": "…"} adds a note
//	DELETE /notes/{id}        deletes a note
package notes

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/oauth"
)

// DeviceClient is the client ID of the command line.
const DeviceClient = "notes"
const scopeRead, scopeWrite = "notes:read", "notes:write"

// Service serves the API, the sign-in and the console.
type Service struct {
	http.Handler
	Auth  *auth.Service // the caller calls its method Run
	table *Table
}

// New returns a service with these stores. cfg.Issuer is the origin at which browsers reach the service.
func New(store auth.Store, table *Table, cfg auth.Config) (*Service, error) {
	mux := http.NewServeMux()
	s := &Service{Handler: mux, table: table}
	cfg.Tokens.Scopes = []string{scopeRead, scopeWrite}
	cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/console/"}
	cfg.PublicURL, cfg.OnEvent = cfg.Issuer, s.onEvent
	var err error
	if s.Auth, err = auth.New(store, cfg); err != nil {
		return nil, err
	}
	pages, err1 := console.Handler(s.Auth, console.Config{Path: "/console", Name: "Notes", Devices: true,
		Scopes: []console.Scope{{Name: scopeRead}, {Name: scopeWrite}}})
	devices, err2 := oauth.New(s.Auth, oauth.Config{DevicePage: cfg.Issuer + "/console/device",
		DeviceClients: []oauth.DeviceClient{
			{ID: DeviceClient, Name: "The notes command", Scopes: cfg.Tokens.Scopes}}})
	s.Auth.Mount(mux)
	s.Auth.Mount(mux, auth.GroupBrowser, auth.GroupHealth)
	mux.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusSeeOther))
	mux.Handle("GET /notes", s.Auth.RequireScope(scopeRead, s.call(s.list)))
	mux.Handle("POST /notes", s.Auth.RequireScope(scopeWrite, s.call(s.add)))
	mux.Handle("DELETE /notes/{id}", s.Auth.RequireScope(scopeWrite, s.call(s.delete)))
	if err := cmp.Or(err1, err2); err != nil {
		return nil, err
	}
	mux.Handle("/console/", pages)
	devices.Mount(mux)
	return s, nil
}

// onEvent logs the event. If a user was deleted, it deletes the notes of the user. If that fails, it panics:
// the event is then delivered again.
func (s *Service) onEvent(event auth.Event) {
	s.Auth.LogEvent(event)
	if event.Kind != eventkind.UserDeleted {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.table.DeleteUser(ctx, event.UserID); err != nil {
		panic(err)
	}
}

// call returns the handler of a call by a user who has signed in. If do returns no answer, the status is 204.
func (s *Service) call(do func(r *http.Request, userID string) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		id := r.PathValue("id") + r.URL.Query().Get("before") // a call has only one of them
		if strings.Trim(id, "0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			auth.WriteError(w, r, auth.ErrNotFound) // PostgreSQL fails on a NUL and on invalid UTF-8
			return
		}
		caller, _ := auth.IdentityFromContext(ctx)
		status, answer, err := do(r.WithContext(ctx), caller.UserID)
		s.Auth.LogResult(r, err)
		switch {
		case err != nil:
			auth.WriteError(w, r, err)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(answer) // fails only if the client has gone
		}
	})
}

func (s *Service) list(r *http.Request, userID string) (int, any, error) {
	notes, err := s.table.List(r.Context(), userID, r.URL.Query().Get("before"))
	return http.StatusOK, map[string][]Note{"notes": notes}, err
}

func (s *Service) add(r *http.Request, userID string) (int, any, error) {
	var body struct{ Text string }
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 100_000)).Decode(&body)
	// PostgreSQL keeps no NUL in a text.
	if text := body.Text; err != nil || text == "" || len(text) > 10_000 || strings.Contains(text, "\x00") {
		return 0, nil, &auth.InvalidError{Field: "text", Reason: "must have 1 to 10,000 bytes, in JSON"}
	}
	note, err := s.table.Add(r.Context(), userID, body.Text)
	return http.StatusCreated, note, err
}

func (s *Service) delete(r *http.Request, userID string) (int, any, error) {
	return 0, nil, s.table.Delete(r.Context(), userID, r.PathValue("id"))
}
