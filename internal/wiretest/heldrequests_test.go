package wiretest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// heldRequest is a request that the middleware has accepted. It waits either for its body or, if
// the handler reads no body, for its call of the store.
type heldRequest struct {
	call              lastingCall
	reached, released chan struct{}
	answer            chan int
}

func (h *heldRequest) wait() {
	close(h.reached)
	<-h.released
}

func (h *heldRequest) release() int {
	close(h.released)
	return <-h.answer
}

// heldBody is a request body. Its first read waits until the request is released.
type heldBody struct {
	text  *bytes.Reader
	first func()
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.first()
	return b.text.Read(p)
}

// storeGate holds the next call of one method of the store.
type storeGate struct {
	next atomic.Pointer[gated] // nil if no call is to be held
}

type gated struct {
	method string
	wait   func()
}

// pass is the callback of [authtest.FaultyStore].
func (g *storeGate) pass(method string) error {
	next := g.next.Load()
	if next != nil && next.method == method && g.next.CompareAndSwap(next, nil) {
		next.wait()
	}
	return nil
}

// hold sends the request of the call, and returns as soon as the request waits.
func (s *stolen) hold(svc *auth.Service, c lastingCall) *heldRequest {
	s.t.Helper()
	text := c.body
	if text == "" {
		text = "{}"
	}
	h := &heldRequest{c, make(chan struct{}), make(chan struct{}), make(chan int, 1)}
	body := &heldBody{bytes.NewReader([]byte(text)), sync.OnceFunc(h.wait)}
	r := httptest.NewRequest(c.method, c.target(s), io.NopCloser(body))
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(s.header); i += 2 {
		r.Header.Set(s.header[i], s.header[i+1])
	}
	if c.without != "" {
		r.Body, r.ContentLength = http.NoBody, 0
		s.gate.next.Store(&gated{c.without, h.wait})
	}
	go func() {
		w := httptest.NewRecorder()
		svc.Handler().ServeHTTP(w, r)
		h.answer <- w.Code
	}()
	select {
	case <-h.reached:
	case code := <-h.answer:
		s.t.Fatalf("%s: answered %d before it was released", c.name, code)
	}
	return h
}

// This test shows that the requests of the other tests fail because of the loss of rights, and not
// because they were held.
func TestAHeldRequestOfALiveSessionSucceeds(t *testing.T) {
	t.Parallel()
	for _, c := range append(lastingCalls, reactivate) {
		t.Run(c.name, func(t *testing.T) {
			s := newStolen(t, memstore.New(), reauthAfter(time.Minute))
			s.setActive(s.user, c.name != reactivate.name)
			before := s.snapshot()
			h := s.hold(s.other, c)
			s.clock.Advance(50 * time.Second)
			require.Less(t, h.release(), 300)
			require.NotEqual(t, before, s.snapshot())
		})
	}
}

var reactivate = lastingCall{"reactivate a user", http.MethodPatch, `{"is_active": true}`, ofUser(""),
	true, ""}

func reauthAfter(age time.Duration) func(*auth.Config) {
	return func(cfg *auth.Config) { cfg.ReauthAfter = age }
}

// givingCalls returns the calls that create credentials or give rights. With ReauthAfter, they need
// a recent session.
func givingCalls() []lastingCall {
	gives := map[string]bool{
		"create a key": true, "rotate a key": true, "rotate another user's key": true,
		"register a super user": true, "register by the published path": true,
		"promote a user": true, "rename a user": true, "give a user an e-mail": true, "regenerate a user's credentials": true, "reinstate a user": true,
	}
	all := []lastingCall{reactivate}
	for _, c := range lastingCalls {
		if gives[c.name] {
			all = append(all, c)
		}
	}
	return all
}

// newAging returns a fixture with ReauthAfter and a disabled user, whom a call can reactivate.
func newAging(t *testing.T, store auth.Store) *stolen {
	t.Helper()
	s := newStolen(t, store, reauthAfter(10*time.Minute))
	s.setActive(s.user, false)
	return s
}

func TestASessionThatIsTooOldGivesNoPowerOnAnyInstance(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newAging(t, open(t))
		s.clock.Advance(10 * time.Minute)
		before := s.snapshot()
		for _, c := range givingCalls() {
			for _, svc := range s.instances() {
				require.Equal(t, http.StatusForbidden, s.call(svc, c), c.name)
				require.Equal(t, before, s.snapshot(), c.name)
			}
		}
	})
}

// The middleware accepts the request, and the session becomes too old before the body arrives.
func TestASessionThatBecomesTooOldBeforeTheBodyArrivesGivesNoPower(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newAging(t, open(t))
		s.clock.Advance(10*time.Minute - time.Second)
		var held []*heldRequest
		for _, c := range givingCalls() {
			for _, svc := range s.instances() {
				held = append(held, s.hold(svc, c))
			}
		}
		s.clock.Advance(time.Second)
		before := s.snapshot()
		for _, h := range held {
			require.Equal(t, http.StatusForbidden, h.release(), h.call.name)
			require.Equal(t, before, s.snapshot(), h.call.name)
		}
	})
}
