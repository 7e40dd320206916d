package auth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/sallyport-go/auth/internal/wire"
)

// Identify returns the identity of the caller who makes the request: the bearer of the token in
// its Authorization header or, if [Config.BrowserSessions] is set and there is no bearer token,
// the user of the session cookie. It changes nothing.
//
// It returns ErrTokenMissing if there is no token, ErrTokenRejected if the token is not valid
// now, ErrCrossOrigin if a request that changes something carries the cookie from another
// origin, and any other error if the store could not answer. [WriteError] answers with each;
// where there is no http.ResponseWriter, [ErrorStatus] says how to.
func (s *Service) Identify(r *http.Request) (Identity, error) {
	identity, err := s.identify(r)
	if err != nil {
		return Identity{}, err
	}
	return *identity, nil
}

// IdentifyContext is [Service.Identify] for routers and protocols other than net/http: it
// returns the context of the request with the caller in it, as [Service.Authenticate] passes it
// on, for [IdentityFromContext], [Service.User] and [Service.SuperUser]. Its errors are those of
// Identify.
func (s *Service) IdentifyContext(r *http.Request) (context.Context, error) {
	identity, err := s.identify(r)
	if err != nil {
		return nil, err
	}
	return &callerContext{request: r, clients: s.clients, identity: identity}, nil
}

// identify is Identify with a result that callers share and must not change.
func (s *Service) identify(r *http.Request) (*Identity, error) {
	identity, err := s.identifySilently(r)
	if err != nil {
		s.events.tokenRejected(WithClientInfo(r.Context(), s.clientInfo(r)), err)
	}
	return identity, err
}

// identifySilently is identify without an event.
func (s *Service) identifySilently(r *http.Request) (*Identity, error) {
	ctx := r.Context()
	if s.tokens.feed == nil { // the feed bounds its waiting itself
		bounded, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		ctx = bounded
	}
	token, err := BearerToken(r)
	if err != nil {
		if s.browser != nil && errors.Is(err, ErrTokenMissing) {
			return s.identifyBrowser(ctx, r) // also beside a header of another scheme, a proxy's say
		}
		return nil, err
	}
	return s.tokens.verify(ctx, token)
}

func (s *Service) identifyBrowser(ctx context.Context, r *http.Request) (*Identity, error) {
	now := s.now()
	v, err := s.verifyCookie(r, now)
	if err != nil {
		return nil, err
	}
	if err := s.tokens.requireLive(ctx, &v.Claims, &v.Checked, now); err != nil {
		return nil, rejectionOf(v.Identity.UserID, v.Identity.SessionID, err)
	}
	if !s.browser.IsOwn(r) {
		return nil, &rejection{ErrCrossOrigin, v.Identity.UserID, v.Identity.SessionID}
	}
	return (*Identity)(&v.Identity), nil
}

// verifyCookie returns what the token in the request's session cookie proves. It does not know whether
// the session was revoked.
func (s *Service) verifyCookie(r *http.Request, now time.Time) (*token.Verified, error) {
	v, err := s.browser.Verify(r, s.tokens.ring.Load(), now)
	if errors.Is(err, browser.ErrNoCookie) {
		return nil, ErrTokenMissing
	}
	return v, err
}

// clientInfo returns the client that sends the request.
func (s *Service) clientInfo(r *http.Request) ClientInfo { return clientOfRequest(r, s.clients) }

// Authenticate passes on requests that [Service.Identify] accepts, with the caller in their
// context for [IdentityFromContext], and answers the others.
func (s *Service) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := s.IdentifyContext(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// RequireSuperUser passes on requests whose caller is an active super user in the store, or in
// the [UserSource], at this moment, whatever the token says, with the caller's record in their
// context for [Service.User]. It belongs inside Authenticate of the same service and refuses
// everything without it.
func (s *Service) RequireSuperUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		administrator, err := s.withSuperUser(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, administrator)
	})
}

// withSuperUser returns the request with its caller's record in its context, or an error unless
// the caller is an active super user.
func (s *Service) withSuperUser(r *http.Request) (*http.Request, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	user, err := s.SuperUser(ctx)
	if err != nil {
		return nil, err
	}
	identity, _ := IdentityFromContext(r.Context())
	return r.WithContext(&userContext{callerContext{request: r, clients: s.clients, identity: &identity},
		user}), nil
}

// endpoint is a documented call: the policy that a request must meet, and what the call does.
type endpoint struct {
	method string
	access access
	recent bool // the session must be within Config.ReauthAfter
	github bool // the call needs GitHub, and answers 503 without

	// serve returns the body of a 200, an answer with another status, or an error. A call
	// that writes the answer itself returns written.
	serve func(w http.ResponseWriter, r *http.Request) (body any, err error)
}

// access says who may make a call.
type access int

const (
	anyone access = iota
	anyUser
	superUsers
)

// answer is a response with another status than 200. Without a body it is 204.
type answer struct {
	status int
	body   any
}

var noContent = answer{status: http.StatusNoContent}

// written is the result of a call that has written the answer itself.
type written struct{}

// errNotConfigured is the answer of every GitHub call of a host without GitHub.
var errNotConfigured = &wire.RequestError{Status: http.StatusServiceUnavailable,
	Detail: "GitHub sign-in is not configured"}

// handler returns the handler of an endpoint.
func (s *Service) handler(e endpoint) http.Handler {
	switch {
	case e.access == superUsers && s.users == nil:
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, ErrNotFound) })
	case e.github && s.github == nil:
		return s.allowMethod(e.method,
			func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNotConfigured) })
	}
	serve := s.allowMethod(e.method, func(w http.ResponseWriter, r *http.Request) { s.serve(e, w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(WithClientInfo(r.Context(), s.clientInfo(r)), s.timeout)
		defer cancel()
		r, err := s.admit(e, r.WithContext(ctx))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		serve.ServeHTTP(w, r)
	})
}

// admit returns the request with its caller, if known, in its context, and an error if the
// caller does not meet the policy of the endpoint.
func (s *Service) admit(e endpoint, r *http.Request) (*http.Request, error) {
	if e.access == anyone {
		return r, nil
	}
	ctx, err := s.IdentifyContext(r)
	if err != nil {
		return r, err
	}
	r = r.WithContext(ctx)
	if e.access == superUsers {
		administrator, err := s.withSuperUser(r)
		if err != nil {
			return r, err
		}
		r = administrator
	}
	if e.recent {
		return r, s.requireRecent(ctx)
	}
	return r, nil
}

// requireRecent returns ErrSessionTooOld if the caller's session is older than Config.ReauthAfter.
func (s *Service) requireRecent(ctx context.Context) error {
	caller, _ := IdentityFromContext(ctx)
	if s.reauthAfter > 0 && !s.now().Before(caller.IssuedAt.Add(s.reauthAfter)) {
		return ErrSessionTooOld
	}
	return nil
}

func (s *Service) serve(e endpoint, w http.ResponseWriter, r *http.Request) {
	body, err := e.serve(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	switch a := body.(type) {
	case written:
	case answer:
		if a.body != nil {
			wire.WriteJSON(w, a.status, a.body)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(a.status)
	default:
		wire.WriteJSON(w, http.StatusOK, body)
	}
}

// methodNotAllowed answers 405 with the methods that are allowed.
func (s *Service) methodNotAllowed(allowed []string) http.Handler {
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(slices.Clone(allowed), http.MethodHead)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		s.fail(w, r, &wire.RequestError{Status: http.StatusMethodNotAllowed,
			Detail: "Method not allowed: use " + allow})
	})
}

// allows reports whether the method is one of the allowed. HEAD is GET without the body.
func allows(allowed []string, method string) bool {
	return slices.Contains(allowed, method) ||
		method == http.MethodHead && slices.Contains(allowed, http.MethodGet)
}

// allowMethod passes one method on, so that a handler keeps to its method wherever a host
// mounts it.
func (s *Service) allowMethod(method string, next http.HandlerFunc) http.Handler {
	refuse := s.methodNotAllowed([]string{method})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allows([]string{method}, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		refuse.ServeHTTP(w, r)
	})
}

// fail answers with an error through the host's function, records a refusal, and logs what the
// operator must mend.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.logFailure(r, err)
	s.recordRefusal(r, err)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // the host's way to end a response
		} else if p != nil {
			s.log.ErrorContext(r.Context(), "auth: Config.WriteError panicked", "panic", p)
			WriteError(w, r, err)
		}
	}()
	s.writeError(w, r, err)
}

// recordRefusal records that the caller of the request may not do what it asks for, if err says so.
// Sign-ins with GitHub have events of their own.
func (s *Service) recordRefusal(r *http.Request, err error) {
	status, reason := ErrorStatus(err)
	switch {
	case errors.Is(err, errOthers):
		reason = "it belongs to another user"
	case status != http.StatusForbidden || isGitHubRefusal(err):
		return
	}
	e := Event{Kind: EventAccessRefused, Reason: reason}
	e.setSubject(err)
	if caller, ok := IdentityFromContext(r.Context()); ok {
		e.UserID, e.ActorID, e.SessionID = cmp.Or(e.UserID, caller.UserID), caller.UserID, caller.SessionID
	} else { // the user of a session cookie
		e.ActorID = e.UserID
	}
	if e.ActorID == "" {
		return // anybody can send such requests
	}
	s.events.emit(WithClientInfo(r.Context(), s.clientInfo(r)), e)
}

func (s *Service) logFailure(r *http.Request, err error) {
	var answered *wire.RequestError
	status, _ := ErrorStatus(err)
	if status == http.StatusServiceUnavailable && !errors.Is(err, context.Canceled) &&
		!errors.As(err, &answered) {
		s.log.ErrorContext(r.Context(), "auth: request failed", "method", r.Method, "pattern", r.Pattern,
			"error", err)
	}
}
