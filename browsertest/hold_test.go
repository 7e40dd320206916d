package browsertest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
)

// holds are the calls whose responses arrive late or never.
type holds struct {
	mu    sync.Mutex
	calls map[string]chan bool // by method and path
}

// hold keeps the response of the next request for the call, such as "GET /auth/keys", until the returned
// function is called. The service handles the request at once. The response is lost unless deliver is true.
func (h *holds) hold(call string) (release func(deliver bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == nil {
		h.calls = map[string]chan bool{}
	}
	wait := make(chan bool, 1)
	h.calls[call] = wait
	return func(deliver bool) { wait <- deliver }
}

func (h *holds) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.Path
	h.mu.Lock()
	wait := h.calls[call]
	delete(h.calls, call)
	h.mu.Unlock()
	if wait == nil {
		next.ServeHTTP(w, r)
		return
	}
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	deliver := true
	select {
	case deliver = <-wait:
	case <-r.Context().Done():
	}
	maps.Copy(w.Header(), recorder.Header())
	w.WriteHeader(recorder.Code)
	if !deliver { // the connection breaks after the header, or Chromium would send the request again
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write(recorder.Body.Bytes())
}
