package wiretest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// Most requests have a cached token, so verifying one must not allocate.
func TestVerifyingACachedTokenDoesNotAllocate(t *testing.T) {
	if testenv.Race {
		t.Log("the race detector allocates too, so there is nothing to count")
		return
	}
	for alg, signer := range authtest.NewSigners(t) {
		f := newFixture(t, hostScopes, func(f *fixture, _ *auth.Config) { f.signer = signer })
		for kind, token := range map[string]string{
			"unlimited": f.signIn(f.user), "limited": f.limited(f.user, allScopes...),
		} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			served := 0
			next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
			w := &discard{header: http.Header{}}

			require.Zero(t, testing.AllocsPerRun(1000, func() {
				identity, err := f.svc.Identify(r)
				if err != nil || !identity.HasScope(writing) {
					t.Error(err)
				}
			}), "Identify, %s, %s", alg, kind)
			for name, handler := range map[string]http.Handler{
				"Authenticate": f.svc.Authenticate(next),
				"RequireScope": f.svc.RequireScope(writing, next),
				"both":         f.svc.Authenticate(f.svc.RequireScope(writing, next)),
			} {
				if served = 0; name == "Authenticate" && kind == "limited" {
					continue // is refused
				}
				require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
					handler.ServeHTTP(w, r)
				}), 2.0, "%s, %s, %s", name, alg, kind)
				require.Equal(t, 1001, served)
			}
		}
	}
}

func TestVerifyingACachedTokenForAnotherServiceDoesNotAllocate(t *testing.T) {
	if testenv.Race {
		t.Log("the race detector allocates too, so there is nothing to count")
		return
	}
	d := newDelegator(t)
	tokens, token, ctx := d.svc.Tokens(), d.mustDelegate().Bearer.Reveal(), t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if identity, err := tokens.VerifyFor(ctx, audience, token); err != nil || identity.Actor != d.agent {
			t.Error(err)
		}
	}))
}

// Anyone can call /start, and no limit stands before the call. So the handler must parse a large
// Cookie header only one time. Each parse of the header allocates memory for every cookie.
func TestStartParsesALargeCookieHeaderOnce(t *testing.T) {
	if testenv.Race {
		t.Log("the race detector allocates too, so there is nothing to count")
		return
	}
	g := newGitHub(t, withBrowserSessions)
	handler := g.svc.Handler()
	// All four cookie names of flows are in use, so the library finds no free one.
	small := "__Host-auth_session=x"
	for slot := range 4 {
		small += fmt.Sprintf("; __Host-auth_github_%d=x", slot)
	}
	large := strings.TrimSuffix(strings.Repeat(small+"; ", 590), "; ") // package http refuses 3001 cookies

	for _, click := range [][]string{
		nil, // an old browser, which sends no Sec-Fetch headers
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
			"Sec-Fetch-User", "?1"},
	} {
		start := func(cookies string) allocated {
			r := httptest.NewRequest(http.MethodGet, startCall+"?return_to=/reports", nil)
			r.Header.Set("Cookie", cookies)
			for i := 0; i < len(click); i += 2 {
				r.Header.Set(click[i], click[i+1])
			}
			return allocatedBy(func() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusFound {
					t.Error(w.Code, w.Body)
				}
			})
		}
		header := http.Header{"Cookie": {large}}
		once := allocatedBy(func() {
			if len((&http.Request{Header: header}).Cookies()) != 5*590 {
				t.Error("the cookies were not parsed")
			}
		})
		few, many := start(small), start(large)
		require.Less(t, many.objects-few.objects, 1.1*once.objects, "%v", click)
		require.Less(t, many.bytes-few.bytes, 1.1*once.bytes, "%v", click)
	}
}

// allocated is the memory that one call of a function allocates.
type allocated struct{ objects, bytes float64 }

// allocatedBy returns the average of 20 calls. As with [testing.AllocsPerRun], no parallel test may
// run at the same time.
func allocatedBy(call func()) allocated {
	const runs = 20
	call() // the first call may allocate what later calls use again
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		call()
	}
	runtime.ReadMemStats(&after)
	return allocated{
		objects: float64(after.Mallocs-before.Mallocs) / runs,
		bytes:   float64(after.TotalAlloc-before.TotalAlloc) / runs,
	}
}
