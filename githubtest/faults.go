package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Fault is a way for an endpoint to go wrong. It gets the endpoint, and returns
// what answers in its place: often without asking it, sometimes with its answer
// spoiled. A test can write its own, as it would write a middleware. One that
// waits must stop when the request's context is done, so that Close can return.
//
// Faults that break the connection need the server of [Start] or another of
// net/http, not a recorder.
type Fault func(endpoint http.Handler) http.Handler

// Inject lets every call of the endpoint go wrong in this way, until [Server.Heal]
// or the next Inject.
func (s *Server) Inject(endpoint Endpoint, fault Fault) {
	s.InjectN(endpoint, -1, fault)
}

// InjectN lets the next n calls of the endpoint go wrong in this way. Mind that
// Go's HTTP client by itself tries a GET again if a connection that it has used
// before breaks without an answer, which makes two calls of one.
func (s *Server) InjectN(endpoint Endpoint, n int, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[endpoint] = &injected{fault, n}
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// injected is a fault and for how many more calls it is, negative for all.
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

	// Endpoints are those that the fault makes sense for.
	Endpoints []Endpoint

	// Harmless says that a careful client may go on, because the answer still says
	// what it has to, or the client can do without: an ID that is large, a field
	// that is there twice, no e-mail address. It may also give up.
	Harmless bool
}

// Faults lists every ready-made fault, for a test to try each at each of its
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
	// jsonEndpoints answer with JSON that a client reads.
	jsonEndpoints = append([]Endpoint{EndpointAccessToken, EndpointUser, EndpointCheckToken}, listEndpoints...)

	// serverEndpoints are those that the app calls, not the browser.
	serverEndpoints = append([]Endpoint{EndpointDeleteToken, EndpointDeleteGrant}, jsonEndpoints...)
)

// named returns an entry for the list.
func named(name string, fault Fault) NamedFault {
	return NamedFault{Name: name, Fault: fault}
}

// harmless marks an entry as one that a client may overlook.
func harmless(fault NamedFault) NamedFault {
	fault.Harmless = true
	return fault
}

// Answer returns a fault that answers this and nothing else.
func Answer(status int, contentType, body string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// Status returns a fault that answers with this status, and with what GitHub says
// then.
func Status(status int) Fault {
	return statusWith(status, nil)
}

// Redirect returns a fault that sends the client elsewhere, with a status such as
// 307. A client must bring no secret there.
func Redirect(status int, location string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// OAuthError returns a fault by which the token endpoint answers status 200 with
// this error, as GitHub does.
func OAuthError(code string) Fault {
	return edited(func(a *answer) {
		a.setJSON(object{"error": code, "error_description": fmt.Sprintf("The fault %q was asked for.", code),
			"error_uri": docsOfToken + code})
	})
}

// SetField returns a fault that puts this JSON into a field of the answer, or of
// every entry of a list. Empty text takes the field out. Text that is not JSON is
// a mistake in the test, and panics.
func SetField(field, value string) Fault {
	if value != "" && !json.Valid([]byte(value)) {
		panic(fmt.Sprintf("githubtest: SetField(%q, %q): not JSON", field, value))
	}
	return edited(func(a *answer) { a.setField(field, value) })
}

// instead returns a fault that does not ask the endpoint.
func instead(handler http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return handler }
}
