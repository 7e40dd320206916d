package wiretest

import (
	"net/http"
	"net/http/httptest"
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
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.signer = signer })
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+f.signIn(f.user))
		served := 0
		handler := f.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		w := &discard{header: http.Header{}}

		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if _, err := f.svc.Identify(r); err != nil {
				t.Error(err)
			}
		}), "Identify, %s", alg)
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
			handler.ServeHTTP(w, r)
		}), 2.0, "Authenticate, %s", alg)
		require.Equal(t, 1001, served)
	}
}
