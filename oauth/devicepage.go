package oauth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/wire"
)

// The handlers below are for the page on which a person decides about a device. A request needs the session
// cookie of a person who signed in at most ten minutes ago, or at most auth.Config.ReauthAfter ago if that is
// set, and must come from a page of the service's own origin. Its body is a JSON object with the field
// user_code. An error has the form of the documented calls of package auth. A code that is wrong, expired,
// used, or claimed by another session gets the same 404.

// DeviceLookupHandler handles POST /auth/device/lookup: it says which program on which device waits with this
// user code, and which scopes it would get. From then on, only this browser session can decide about the
// device. If the person signs out and signs in again, the new session can look up the code.
func (s *Server) DeviceLookupHandler() http.Handler { return s.pageHandler(s.lookUpDevice) }

// DeviceApprovalHandler handles POST /auth/device/approve: it lets the device sign in as the person. It
// answers 204. The browser session must have looked up the code.
func (s *Server) DeviceApprovalHandler() http.Handler {
	return s.pageHandler(func(ctx context.Context, caller auth.Identity, userCode string) (any, error) {
		_, err := s.svc.ApproveDevice(ctx, caller.Authority(), userCode)
		return nil, err
	})
}

// DeviceDenialHandler handles POST /auth/device/deny: it refuses the device. It answers 204. The browser
// session must have looked up the code, but can be of any age.
func (s *Server) DeviceDenialHandler() http.Handler {
	return s.pageHandler(func(ctx context.Context, caller auth.Identity, userCode string) (any, error) {
		_, err := s.svc.DenyDevice(ctx, caller.Authority(), userCode)
		return nil, err
	})
}

// waitingDevice describes a device to the person who decides about it.
type waitingDevice struct {
	Client    string    `json:"client"` // the name of the program
	Scopes    []string  `json:"scopes"`
	Address   string    `json:"ip"`
	UserAgent string    `json:"user_agent"`
	StartedAt time.Time `json:"started_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Server) lookUpDevice(ctx context.Context, caller auth.Identity, userCode string) (any, error) {
	device, err := s.svc.ClaimDevice(ctx, caller.Authority(), userCode)
	if err != nil {
		return nil, err
	}
	client, known := s.devices[device.ClientID]
	if !known { // a client that the configuration no longer has
		return nil, auth.ErrNotFound
	}
	scopes := slices.DeleteFunc(device.Scopes.List(), func(name string) bool {
		return !caller.HasScope(name)
	})
	return waitingDevice{Client: client.name, Scopes: scopes, Address: device.Address,
		UserAgent: device.UserAgent, StartedAt: device.CreatedAt, ExpiresAt: device.ExpiresAt}, nil
}

// errNoCookie is the error of a request that does not come from a page, but from a program with a token.
var errNoCookie = &wire.RequestError{Status: http.StatusForbidden,
	Detail: "Devices are approved in a browser, with its session cookie"}

// pageHandler returns the handler of a call of the page. If do returns nil, the handler answers 204.
func (s *Server) pageHandler(
	do func(ctx context.Context, caller auth.Identity, userCode string) (any, error),
) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire.DenyFrames(w.Header())
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			auth.WriteError(w, r, &wire.RequestError{Status: http.StatusMethodNotAllowed,
				Detail: "Method not allowed: use POST"})
			return
		}
		ctx, cancel := s.svc.ClientContext(r)
		defer cancel()
		r = r.WithContext(ctx)
		answer, err := s.servePage(w, r, do)
		if status, _ := auth.ErrorStatus(err); err == nil || status == http.StatusServiceUnavailable {
			s.svc.LogResult(r, err)
		}
		switch {
		case err != nil:
			auth.WriteError(w, r, err)
		case answer == nil:
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
		default:
			wire.WriteJSON(w, http.StatusOK, answer)
		}
	})
}

// servePage identifies the person by the session cookie, and calls do with the user code of the body.
func (s *Server) servePage(
	w http.ResponseWriter, r *http.Request,
	do func(ctx context.Context, caller auth.Identity, userCode string) (any, error),
) (any, error) {
	// A token in the header, even of another person, would be used instead of the cookie.
	if _, err := auth.BearerToken(r); !errors.Is(err, auth.ErrTokenMissing) {
		return nil, errNoCookie
	}
	ctx, err := s.svc.IdentifyContext(r)
	if err != nil {
		return nil, err
	}
	caller, _ := auth.IdentityFromContext(ctx)
	body := wire.ReadStrictBody(w, r, "user_code")
	userCode := body.Text("user_code")
	var field *wire.FieldError
	switch err := body.Err(); {
	case errors.As(err, &field):
		return nil, (*auth.InvalidError)(field)
	case err != nil:
		return nil, err
	}
	return do(ctx, caller, userCode)
}
