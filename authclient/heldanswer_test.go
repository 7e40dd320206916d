package authclient_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
)

// The attack: a proxy answers 401, and holds the body back.
func TestAHeldBodyOfARejectionDelaysNoRepeatedRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = f.newClient(t, authclient.Config{Now: jumping()})
	_, err := f.client.CurrentUser(t.Context())
	require.NoError(t, err)
	f.revokeAll(t)
	var held atomic.Bool
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/reports" || held.Swap(true) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(http.StatusUnauthorized)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+"/reports", nil)
	require.NoError(t, err)
	response, err := f.client.HTTP().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.True(t, held.Load())
}
