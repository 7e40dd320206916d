package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/weburl"
)

// Server serves the OAuth calls of a service. Make it with [New]. It is safe for concurrent use.
type Server struct {
	svc    *auth.Service
	issuer *url.URL
	failed failedPairs

	workloads  AssertionVerifier       // nil if there are no workloads
	devices    map[string]deviceClient // by ID; nil if there are no devices
	devicePage string
}

// New returns a Server for the service, or an error that says what to change in the configuration. It returns
// an error if the issuer of the service is not https and not on loopback, because OAuth clients would send
// secrets over a connection that other people can read.
func New(svc *auth.Service, cfg Config) (*Server, error) {
	if svc == nil {
		return nil, errors.New("oauth: New needs a Service")
	}
	issuer, err := url.Parse(svc.Tokens().Issuer())
	if err != nil || !weburl.IsSecure(issuer) {
		return nil, errors.New("oauth: the issuer of the service must be https, or http on loopback")
	}
	devices, err := cfg.deviceClients(svc)
	if err != nil {
		return nil, err
	}
	return &Server{svc: svc, issuer: issuer, workloads: cfg.Workloads, devices: devices,
		devicePage: cfg.DevicePage}, nil
}

// Mount registers the calls on the mux, those for devices only if there are [Config.DeviceClients]. If a
// pattern conflicts with a pattern of the mux, Mount panics, as [http.ServeMux.Handle] does.
func (s *Server) Mount(mux *http.ServeMux) {
	mux.Handle("/auth/token", s.TokenHandler())
	mux.Handle("/auth/revoke", s.RevocationHandler())
	mux.Handle("/auth/introspect", s.IntrospectionHandler())
	if s.devices != nil {
		mux.Handle("/auth/device", s.DeviceHandler())
		mux.Handle("/auth/device/lookup", s.DeviceLookupHandler())
		mux.Handle("/auth/device/approve", s.DeviceApprovalHandler())
		mux.Handle("/auth/device/deny", s.DeviceDenialHandler())
	}
	// RFC 8414, section 3.1, and RFC 9728, section 3.1: the path of the issuer follows the well-known path.
	path := s.issuer.EscapedPath() // a decoded path could contain a brace, which begins a wildcard
	mux.Handle("GET "+authorizationServer+path, s.ServerMetadataHandler())
	mux.Handle("GET "+protectedResource+path, s.ResourceMetadataHandler())
}

// call is a handler of a form. It returns the answer, which is nil for an empty body.
type call func(r *http.Request, form form) (any, error)

// errForgeable is the answer to a page of another origin that calls without a preflight request.
var errForgeable = &failure{status: http.StatusForbidden, code: invalidRequest,
	description: "A page of another origin can make this call only with an Authorization header"}

// handler returns the handler of a call.
func (s *Server) handler(do call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			writeError(w, &failure{status: http.StatusMethodNotAllowed, code: invalidRequest,
				description: "The method must be POST"}, s.resourceMetadataURL())
			return
		}
		// Before anything is counted: any page could otherwise use up the limits of its visitors' addresses.
		if browser.IsForgeable(r, s.issuer.Scheme+"://"+s.issuer.Host) {
			writeError(w, errForgeable, s.resourceMetadataURL())
			return
		}
		ctx, cancel := s.svc.ClientContext(r)
		defer cancel()
		r = r.WithContext(ctx)
		form, err := readForm(w, r)
		var answer any
		if err == nil {
			answer, err = do(r, form)
		}
		s.logResult(r, err)
		if err != nil {
			writeError(w, failureOf(err), s.resourceMetadataURL())
			return
		}
		writeAnswer(w, http.StatusOK, answer)
	})
}

// logResult logs an outage of the store, or its end. A refusal says nothing about the store, and neither does
// an assertion that could not be verified.
func (s *Server) logResult(r *http.Request, err error) {
	var answered *failure
	if err == nil || !errors.As(err, &answered) && failureOf(err).status == http.StatusServiceUnavailable {
		s.svc.LogResult(r, err)
	}
}

// pairOf returns the access key and the secret of the client (RFC 6749, section 2.3.1), and whether they were
// in the Authorization header. It returns an error if there are none.
func pairOf(r *http.Request, form form) (pair auth.KeyPair, basic bool, err error) {
	id, secret := form.get("client_id"), form.get("client_secret")
	header := r.Header["Authorization"]
	switch {
	case len(header) > 1:
		return pair, false, invalid("There must be at most one Authorization header")
	case len(header) == 1:
		name, password, ok := basicPair(r)
		switch {
		case !ok:
			return pair, true, invalidClient(true)
		case secret != "":
			return pair, true, invalid("Client credentials must be in the header or in the form, not in both")
		case id != "" && id != name:
			return pair, true, invalid("client_id must be the same in the header and in the form")
		}
		return auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret(password)}, true, nil
	case id == "" || secret == "":
		return pair, false, invalidClient(false)
	}
	return auth.KeyPair{AccessKey: id, AccessSecret: auth.NewSecret(secret)}, false, nil
}

// basicPair returns the decoded user and password of the Authorization header. Before a client joins them, it
// encodes both like the values of a form.
func basicPair(r *http.Request) (name, password string, ok bool) {
	name, password, ok = r.BasicAuth()
	if !ok {
		return "", "", false
	}
	name, err1 := url.QueryUnescape(name)
	password, err2 := url.QueryUnescape(password)
	return name, password, err1 == nil && err2 == nil && name != "" && password != "" &&
		isText(name) && isText(password)
}

// verify returns the key and the user of a client.
func (s *Server) verify(r *http.Request, form form) (key auth.AccessKey, user auth.User, err error) {
	pair, basic, err := pairOf(r, form)
	if err != nil {
		return key, user, err
	}
	err = s.failed.unlessFailed(pair, basic, func() error {
		key, user, err = s.svc.VerifyPair(r.Context(), pair)
		return err
	})
	return key, user, err
}

// scopesOf returns the scopes of the parameter scope, or nil if there is none. Only spaces separate scopes
// (RFC 6749, section 3.3). The service checks the scopes.
func scopesOf(form form) *auth.ScopeSet {
	if form.get("scope") == "" {
		return nil
	}
	return auth.NewScopes(strings.FieldsFunc(form.get("scope"), func(r rune) bool { return r == ' ' })...)
}

// audienceOf returns the audience of the parameters resource (RFC 8707) and audience (RFC 8693), or ""
// for the issuer. A token has one audience.
func (s *Server) audienceOf(form form) (string, error) {
	audience := ""
	for _, name := range append(form["resource"], form["audience"]...) {
		if audience != "" && audience != name {
			return "", invalidTarget("A token can be for one resource only")
		}
		audience = name
	}
	if audience == s.svc.Tokens().Issuer() {
		return "", nil
	}
	return audience, nil
}
