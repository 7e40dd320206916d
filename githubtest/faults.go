package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Fault is a way for an endpoint to fail. A Fault gets the endpoint's handler and returns the
// handler that responds instead. Many faults never call the endpoint's handler; other faults call
// it and change its response. A test can write its own faults in the same way as middleware. A
// fault that waits must stop when the request's context is done, so that Close can return.
//
// Faults that break the connection need the server of [Start] or another server of net/http; a
// recorder does not support them.
type Fault func(endpoint http.Handler) http.Handler

// Inject makes every call of the endpoint fail in this way, until [Server.Heal] or the next Inject.
func (s *Server) Inject(endpoint Endpoint, fault Fault) {
	s.InjectN(endpoint, -1, fault)
}

// InjectN makes the next n calls of the endpoint fail in this way. If a reused connection breaks
// before the response, Go's HTTP client repeats a GET without telling its caller. The GET then
// counts as two calls.
func (s *Server) InjectN(endpoint Endpoint, n int, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[endpoint] = &injected{fault, n}
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// injected is a fault and the number of calls to which the fault still applies. A negative number
// means all calls.
type injected struct {
	fault Fault
	calls int
}

// takeFault returns the fault for this call, or nil. The caller holds the lock.
func (s *Server) takeFault(endpoint Endpoint) Fault {
	next := s.faults[endpoint]
	if next == nil || next.calls == 0 {
		return nil
	}
	if next.calls > 0 {
		next.calls--
	}
	return next.fault
}

// NamedFault is one entry of [Faults].
type NamedFault struct {
	Name  string
	Fault Fault

	// Endpoints are the endpoints to which the fault applies.
	Endpoints []Endpoint

	// Harmless says that a careful client may continue, because the response still has what the
	// client needs. Examples are a large ID, a field that appears twice, and a missing optional
	// e-mail address. The client may also give up.
	Harmless bool
}

// Faults lists every ready-made fault, so that a test can try each fault at each of the fault's
// endpoints. Names are unique.
func Faults() []NamedFault {
	var faults []NamedFault
	for _, group := range []struct {
		endpoints []Endpoint
		faults    []NamedFault
	}{
		{serverEndpoints, connectionFaults()},
		{serverEndpoints, statusFaults()},
		{jsonEndpoints, bodyFaults()},
		{[]Endpoint{EndpointUser}, userFaults()},
		{[]Endpoint{EndpointAccessToken}, tokenFaults()},
		{[]Endpoint{EndpointEmails}, emailFaults()},
		{listEndpoints, listFaults()},
		{[]Endpoint{EndpointMemberships}, membershipFaults()},
		{[]Endpoint{EndpointTeams}, teamFaults()},
		{[]Endpoint{EndpointAuthorize}, authorizeFaults()},
	} {
		for _, fault := range group.faults {
			fault.Endpoints = append([]Endpoint(nil), group.endpoints...)
			faults = append(faults, fault)
		}
	}
	return faults
}

var (
	listEndpoints = []Endpoint{
		EndpointEmails, EndpointMemberships, EndpointOrgs, EndpointTeams, EndpointRepos,
	}
	// jsonEndpoints respond with JSON that a client reads.
	jsonEndpoints = append([]Endpoint{EndpointAccessToken, EndpointUser, EndpointCheckToken},
		listEndpoints...)

	// serverEndpoints are called by the app, not by the browser.
	serverEndpoints = append([]Endpoint{EndpointDeleteToken, EndpointDeleteGrant}, jsonEndpoints...)
)

// named returns a fault for the list of [Faults].
func named(name string, fault Fault) NamedFault {
	return NamedFault{Name: name, Fault: fault}
}

// harmless marks a fault that a client may ignore.
func harmless(fault NamedFault) NamedFault {
	fault.Harmless = true
	return fault
}

// Answer returns a fault that sends this response.
func Answer(status int, contentType, body string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// Status returns a fault that responds with this status and with GitHub's body for it.
func Status(status int) Fault {
	return statusWith(status, nil)
}

// Redirect returns a fault that redirects the client with this status, such as 307. A client must
// not send a secret to that location.
func Redirect(status int, location string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// OAuthError returns a fault that makes the token endpoint respond with status 200 and this error,
// as GitHub does.
func OAuthError(code string) Fault {
	return edited(func(a *answer) {
		a.setJSON(object{"error": code,
			"error_description": fmt.Sprintf("This test asked for the fault %q.", code),
			"error_uri":         docsOfToken + code})
	})
}

// SetField returns a fault that sets a field of the response, or of every entry of a list, to this
// JSON. An empty value removes the field. SetField panics if the value is not JSON, because that is
// a mistake in the test.
func SetField(field, value string) Fault {
	if value != "" && !json.Valid([]byte(value)) {
		panic(fmt.Sprintf("githubtest: SetField(%q, %q): not JSON", field, value))
	}
	return edited(func(a *answer) { a.setField(field, value) })
}

// instead returns a fault that never calls the endpoint.
func instead(handler http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return handler }
}
