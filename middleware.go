package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-go/auth/internal/challenge"
	"github.com/sallyport-go/auth/internal/wire"
)

// Identify returns the caller of the request. The caller is the user of the bearer token in the
// Authorization header. If there is no bearer token and [Config.BrowserSessions] is set, the caller
// is the user of the session cookie. Identify writes nothing to the store.
//
// Identify returns ErrTokenMissing if there is no token, and ErrTokenRejected if the token is not valid now.
// A request that is identified by the session cookie must come from a page of the host if the request may
// change something. If the headers of the request do not show that it comes from such a page, Identify
// returns ErrCrossOrigin. Every request may change something, except a GET, HEAD or OPTIONS request without
// an Upgrade header. Any other error of Identify means that the store could not answer.
//
// [WriteError] answers the request with the error. Without an http.ResponseWriter, use [ErrorStatus].
func (s *Service) Identify(r *http.Request) (Identity, error) {
	identity, err := s.identify(r)
	if err != nil {
		return Identity{}, err
	}
	return *identity, nil
}

// IdentifyContext returns the context of the request with the caller in it. Use it for routers and protocols
// that cannot use [Service.Authenticate]. [IdentityFromContext], [Service.User] and [Service.SuperUser]
// accept this context. IdentifyContext returns the errors of [Service.Identify]. Unlike Authenticate, it
// cannot set headers that keep caches from storing the response.
func (s *Service) IdentifyContext(r *http.Request) (context.Context, error) {
	identity, err := s.identify(r)
	if err != nil {
		return nil, err
	}
	return &callerContext{request: r, clients: s.clients, identity: identity}, nil
}

// identify does the same as Identify, but returns an Identity that other requests may share.
// Callers must not change it.
func (s *Service) identify(r *http.Request) (*Identity, error) {
	identity, err := s.identifySilently(r)
	if err != nil {
		return nil, s.unidentified(r, err)
	}
	return identity, nil
}

// unidentified records that identify has refused the request with the error. It returns the error for the
// client.
func (s *Service) unidentified(r *http.Request, err error) error {
	s.events.recordTokenRejection(WithClientInfo(r.Context(), s.clientInfo(r)), err)
	return withMetadata(err, s.metadata)
}

// identifySilently is identify without an event.
func (s *Service) identifySilently(r *http.Request) (*Identity, error) {
	ctx := r.Context()
	if s.tokens.feed == nil { // without a feed, verify waits for the store; a feed limits its own waits
		bounded, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		ctx = bounded
	}
	token, err := BearerToken(r)
	if err != nil {
		if s.browser != nil && errors.Is(err, ErrTokenMissing) {
			// The request may have an Authorization header of another scheme, for instance for a
			// proxy. The session cookie then still counts.
			return s.identifyBrowser(ctx, r)
		}
		return nil, err
	}
	return s.tokens.verify(ctx, s.tokens.verifier.Audience, token)
}

// Authenticate returns a handler that calls [Service.Identify] for each request. If Identify
// accepts the request, the handler calls next, with the caller in the context for
// [IdentityFromContext]. If not, the handler answers with the error of Identify.
//
// If [Config.BrowserSessions] is set, the handler sets Cache-Control to "private, no-cache" and adds
// Cookie to Vary before it calls next, because a cache may store the response to a request with a
// cookie. The handler next can replace both headers. Authenticate also renews a session cookie in the last
// quarter of its life: see [BrowserSessions]. It then adds the new cookie to the response, unless next has
// removed both "private" and "no-store" from Cache-Control, or the session was revoked meanwhile. The
// http.ResponseWriter of this request does not implement interfaces such as http.Hijacker;
// [http.ResponseController] has their functions.
//
// Authenticate answers 403 if the token is limited, because only [Service.RequireScope] says what a limited
// token may do: see [ScopeSet]. If next is a handler of RequireScope or [Service.RequireSuperUser], it
// decides about limited tokens. Authenticate answers a CORS preflight request with 401. Wrap your CORS
// handler around Authenticate.
func (s *Service) Authenticate(next http.Handler) http.Handler {
	requireHandler("Service.Authenticate", next)
	return s.authenticate("", next)
}

// limiting is a handler that decides about limited tokens: it lets one pass only if the token has a scope.
type limiting struct{ http.Handler }

// authenticate is Authenticate for a route that needs the scope. A 401 names the scope. If next is a limiting
// handler, it also gets the requests with limited tokens.
func (s *Service) authenticate(scope string, next http.Handler) http.Handler {
	_, limits := next.(limiting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := s.identify(r)
		if err != nil {
			s.failAt(identifying, w, r, challenge.WithScope(err, scope))
			return
		}
		s.logSuccess(identifying, r)
		caller := &callerContext{request: r, clients: s.clients, identity: identity}
		switch {
		case identity.Limited && (!limits || identity.mustRotate()):
			s.fail(w, r.WithContext(caller), identity.unscoped())
		case s.browser != nil:
			s.serveBrowser(caller, w, r, next)
		default:
			next.ServeHTTP(w, r.WithContext(caller))
		}
	})
}

// RequireScope returns a handler that lets a caller pass if the caller's token has the scope or has no
// limit: see [ScopeSet]. Every other caller gets 403, and the challenge names the scope (RFC 6750, section
// 3.1). For protocols that cannot use HTTP middleware, [Identity.CheckScope] makes the same check.
//
// RequireScope identifies the caller as [Service.Authenticate] does, so Authenticate around it is optional.
// If other middleware is between the two, put it around both instead: Authenticate lets limited tokens pass
// only to a handler that RequireScope has returned. RequireScope panics if the scope is neither in
// [TokenConfig.Scopes] nor one of this package.
func (s *Service) RequireScope(scope string, next http.Handler) http.Handler {
	requireHandler("Service.RequireScope", next)
	if s.tokens.scopes == nil || !s.tokens.scopes.Allows(scope) {
		panic("auth: Service.RequireScope: TokenConfig.Scopes has no scope " + strconv.Quote(scope))
	}
	return s.insideAuthenticate(scope, func(w http.ResponseWriter, r *http.Request) {
		if err := s.ownCaller(r.Context()).identity.CheckScope(scope); err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// insideAuthenticate returns a limiting handler that calls the given function for an authenticated request.
// If no middleware of this Service has authenticated the request, the handler does.
func (s *Service) insideAuthenticate(scope string, serve http.HandlerFunc) http.Handler {
	alone := s.authenticate(scope, limiting{serve})
	return limiting{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := alone
		if s.ownCaller(r.Context()) != nil {
			handler = serve
		}
		handler.ServeHTTP(w, r)
	})}
}

// RequireSuperUser returns a handler that lets only active super users pass. If the token of a super user
// is limited, the token must also have [ScopeSuperUser]. If the caller may pass, the handler calls next,
// with the caller's user record in the context for [Service.User]. On each request, the handler reads the
// record from the store or the [UserSource], because the user may have changed after the token was issued.
//
// Authenticate around RequireSuperUser is optional. Inside Authenticate of the same Service, the
// handler uses the caller that Authenticate has identified, so the token is verified once.
// Everywhere else, it identifies the caller itself, and sets the headers for caches, as Authenticate
// does. It never uses a caller that another Service, a [RemoteVerifier] or [WithIdentity] has put into
// the context.
func (s *Service) RequireSuperUser(next http.Handler) http.Handler {
	requireHandler("Service.RequireSuperUser", next)
	return s.insideAuthenticate("", func(w http.ResponseWriter, r *http.Request) {
		administrator, err := s.withSuperUser(r, s.SuperUser)
		if err != nil {
			s.failAt(readingPower, w, r, err)
			return
		}
		s.logSuccess(readingPower, r)
		next.ServeHTTP(w, administrator)
	})
}

// withSuperUser returns the request with the caller's record in its context. The parameter read is the
// method that returns the record, or an error if the caller is not an active super user.
func (s *Service) withSuperUser(
	r *http.Request, read func(context.Context) (User, error),
) (*http.Request, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	user, err := read(ctx)
	if err != nil {
		return nil, err
	}
	identity, _ := IdentityFromContext(r.Context())
	return r.WithContext(&userContext{callerContext{request: r, clients: s.clients, identity: &identity},
		user}), nil
}

// endpoint describes a documented call: its method, the conditions of a request, and its function.
type endpoint struct {
	method string
	access access
	scope  string // that a limited session needs; empty means none
	rotate bool   // a session that can only rotate its access key may make the call
	recent bool   // the session must not be older than Config.ReauthAfter
	github bool   // without Config.GitHub, the call answers 503

	signsOut bool // the call ends the session, so it does not renew the session cookie

	// serve returns an error, or one of three values:
	//
	//   - a value of type written, if serve has written the response itself
	//   - a value of type answer, for a response with a status other than 200
	//   - any other value, which is the body of a response with status 200
	serve func(w http.ResponseWriter, r *http.Request) (body any, err error)
}

// access is the set of callers who may make a call.
type access int

const (
	anyone access = iota
	anyUser
	superUsers
)

// answer is a response with a status other than 200. A nil body means no body.
type answer struct {
	status int
	body   any
}

var noContent = answer{status: http.StatusNoContent}

// written is the result of an endpoint's function that has written the response itself.
type written struct {
	// unproven is true if the response does not show that the store answers: the store or GitHub
	// failed, or serving the request did not need the store.
	unproven bool
}

// unframed returns a handler for a documented call. No page can show an answer of the call in a
// frame, not even an answer that Config.WriteError writes.
func unframed(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire.DenyFrames(w.Header())
		serve(w, r)
	})
}

// handler returns the handler of an endpoint.
func (s *Service) handler(e endpoint) http.Handler {
	if e.github && s.github == nil {
		return s.allowMethod(e.method,
			func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, ErrGitHubNotConfigured) })
	}
	serve := s.allowMethod(e.method,
		func(w http.ResponseWriter, r *http.Request) { s.serveEndpoint(e, w, r) })
	return unframed(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(WithClientInfo(r.Context(), s.clientInfo(r)), s.timeout)
		defer cancel()
		r, err := s.applyPolicy(e, r.WithContext(ctx))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if caller := callerOf(r.Context()); caller != nil && !e.signsOut && e.access != anyone {
			if renewing := s.renewing(w, r, caller.identity); renewing != nil {
				defer renewing.addCookie()
				w = renewing
			}
		}
		serve.ServeHTTP(w, r)
	})
}

// applyPolicy checks the request against the conditions of the endpoint. It always returns a
// request, even together with an error. If the caller is known, the context of the returned request
// contains the caller, so that the event of a refusal can name the caller.
func (s *Service) applyPolicy(e endpoint, r *http.Request) (*http.Request, error) {
	if e.access == anyone {
		return r, nil
	}
	ctx, err := s.IdentifyContext(r)
	if err != nil {
		return r, err
	}
	r = r.WithContext(ctx)
	if err = e.checkScope(ctx); err != nil {
		return r, err
	}
	if e.access == superUsers {
		administrator, err := s.withSuperUser(r, s.superUser)
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

// everything is the scope of an endpoint that only a session without a limit may use. No token has it.
const everything = "everything"

// checkScope returns an *InsufficientScopeError if the caller's token is limited and lacks the scope of
// the endpoint.
func (e endpoint) checkScope(ctx context.Context) error {
	switch caller, _ := IdentityFromContext(ctx); {
	case caller.mustRotate() && !e.rotate:
		return &InsufficientScopeError{Scope: ScopeRotate}
	case e.scope == everything && caller.Limited:
		return &InsufficientScopeError{}
	case e.scope != "" && e.scope != everything && !caller.mustRotate():
		return caller.CheckScope(e.scope)
	}
	return nil
}

// requireRecent returns ErrSessionTooOld if the caller's session is older than Config.ReauthAfter.
func (s *Service) requireRecent(ctx context.Context) error {
	caller, _ := IdentityFromContext(ctx)
	if s.reauthAfter > 0 && !s.now().Before(caller.IssuedAt.Add(s.reauthAfter)) {
		return ErrSessionTooOld
	}
	return nil
}

// serveEndpoint calls the function of the endpoint and writes its result.
func (s *Service) serveEndpoint(e endpoint, w http.ResponseWriter, r *http.Request) {
	r = s.watchGitHub(r)
	body, err := e.serve(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if w, _ := body.(written); !w.unproven {
		s.logSuccess(serving, r)
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

// methodNotAllowed returns a handler that answers 405 and names the allowed methods.
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

// allows reports whether the method is allowed. HEAD is allowed if GET is.
func allows(allowed []string, method string) bool {
	return slices.Contains(allowed, method) ||
		method == http.MethodHead && slices.Contains(allowed, http.MethodGet)
}

// allowMethod returns a handler that calls next for the given method and answers 405 for any other.
// A host may mount the returned handler for all methods, so the handler must check the method
// itself.
func (s *Service) allowMethod(method string, next http.HandlerFunc) http.Handler {
	refuse := s.methodNotAllowed([]string{method})
	return unframed(func(w http.ResponseWriter, r *http.Request) {
		if allows([]string{method}, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		refuse.ServeHTTP(w, r)
	})
}

// fail answers the request with err, through Config.WriteError. Before it answers, fail logs err if
// the store or GitHub could not answer, and records an event if err refuses a known caller.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.failAt(serving, w, r, err)
}

// failAt is fail for the given operation.
func (s *Service) failAt(operation string, w http.ResponseWriter, r *http.Request, err error) {
	s.logFailure(operation, r, err)
	s.recordRefusal(r, err)
	err = withMetadata(err, s.metadata)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // net/http documents this panic as the way to abort a response
		} else if p != nil {
			logPanic(s.log, s.writePanics, "Config.WriteError", p)
			WriteError(w, r, err)
		}
	}()
	s.writeError(w, r, err)
}
