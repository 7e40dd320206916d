package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Fault is a way for an endpoint to fail. It gets the endpoint's handler, and returns the handler
// that responds instead. Many faults never call the endpoint's handler. Other faults call this
// handler and change its response. A test can define its own Fault in the same way as a middleware.
// If the handler of a fault waits, the handler must return as soon as the request's context is
// done, because [Server.Close] waits for the handler.
//
// A fault that breaks the connection needs a real connection, for example to a Server that [Start]
// returned. It does not work with an httptest.ResponseRecorder.
type Fault func(endpoint http.Handler) http.Handler

// Inject applies the fault to every call of the endpoint, until the test calls [Server.Heal] or
// injects another fault for the endpoint.
func (s *Server) Inject(endpoint Endpoint, fault Fault) {
	s.InjectN(endpoint, -1, fault)
}

// InjectN applies the fault to the next n calls of the endpoint, and replaces any earlier fault of
// the endpoint.
//
// If a reused connection breaks before the response arrives, Go's HTTP client silently repeats a
// GET request. Such a request counts as two calls.
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

// takeFault returns the fault that applies to this call, or nil. The caller holds the lock.
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

	// If Harmless is true, the response still has everything that a client needs. Examples of
	// harmless faults are a large ID, a field that appears twice, and a missing optional e-mail
	// address. A client is correct whether it accepts or rejects the response.
	Harmless bool
}

// Faults returns every ready-made fault, so that a test can try each fault at each of its
// endpoints. The names of the faults are unique.
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
	jsonEndpoints = append([]Endpoint{EndpointAccessToken, EndpointUser, EndpointCheckToken,
		EndpointResetToken}, listEndpoints...)

	// serverEndpoints are called by the server of the app, not by the browser.
	serverEndpoints = append([]Endpoint{EndpointDeleteToken, EndpointDeleteGrant}, jsonEndpoints...)
)

// named returns a NamedFault without endpoints. [Faults] adds the endpoints.
func named(name string, fault Fault) NamedFault {
	return NamedFault{Name: name, Fault: fault}
}

// harmless returns the fault with Harmless set to true.
func harmless(fault NamedFault) NamedFault {
	fault.Harmless = true
	return fault
}

// Answer returns a fault that responds with this status, content type and body.
func Answer(status int, contentType, body string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// Status returns a fault that responds with this status and the body that GitHub sends with it.
func Status(status int) Fault {
	return statusWith(status, nil)
}

// Redirect returns a fault that redirects the client to the location. The status is a redirect
// status, for example 307. A client must not send a secret to the location.
func Redirect(status int, location string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// OAuthError returns a fault that makes the token endpoint respond with this error code. As at
// GitHub, the status is 200.
func OAuthError(code string) Fault {
	return edited(func(a *answer) {
		a.setJSON(object{"error": code,
			"error_description": fmt.Sprintf("This test asked for the fault %q.", code),
			"error_uri":         docsOfToken + code})
	})
}

// SetField returns a fault that sets a field of the response to a JSON value. If the response is a
// list, the fault sets the field of every entry. An empty value removes the field. SetField panics
// if the value is not valid JSON, because that is a mistake in the test.
func SetField(field, value string) Fault {
	if value != "" && !json.Valid([]byte(value)) {
		panic(fmt.Sprintf("githubtest: SetField(%q, %q): not JSON", field, value))
	}
	return edited(func(a *answer) { a.setField(field, value) })
}

// instead returns a fault that replaces the endpoint's handler with the given handler.
func instead(handler http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return handler }
}
