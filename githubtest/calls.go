package githubtest

import "net/http"

// maxCalls is the maximum number of calls in the log. Without a limit, a demonstration that runs
// for weeks would use more and more memory.
const maxCalls = 10_000

// Call is one request that the fake received. A Call records neither the query nor the headers, so
// it contains no secret.
type Call struct {
	Endpoint     Endpoint // "/" if the fake does not implement the endpoint
	Method, Path string
	Status       int // 0 until the response is sent
}

// Calls returns the newest calls, at most 10,000. The oldest of them comes first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.log.calls))
	for i, call := range s.log.calls {
		calls[i] = *call
	}
	return calls
}

// Count returns the number of calls of the endpoint since the server was created.
func (s *Server) Count(endpoint Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.counts[endpoint]
}

type callLog struct {
	calls  []*Call
	counts map[Endpoint]int
}

func newCallLog() callLog {
	return callLog{counts: make(map[Endpoint]int)}
}

// add logs a call. The server calls add when a request arrives, so the log also contains requests
// that never get a response.
func (l *callLog) add(call Call) *Call {
	if len(l.calls) == maxCalls {
		l.calls = append([]*Call(nil), l.calls[maxCalls/2:]...)
	}
	l.calls = append(l.calls, &call)
	l.counts[call.Endpoint]++
	return &call
}

// loggedWriter records the status of the response in the log.
type loggedWriter struct {
	http.ResponseWriter
	status func(int)
	wrote  bool
}

func (w *loggedWriter) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.status(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *loggedWriter) Write(body []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(body)
}

// Unwrap lets an [http.ResponseController] reach the connection.
func (w *loggedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
