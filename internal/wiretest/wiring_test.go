package wiretest

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// A nil handler must not wait for the first request before it panics.
func TestAMiddlewareWithoutAHandlerPanicsAtOnceAndNamesTheCall(t *testing.T) {
	t.Parallel()
	f, remote := newFixture(t), newRemote(t, "ES256")
	for call, wrap := range map[string]func(http.Handler) http.Handler{
		"Service.Authenticate":        f.svc.Authenticate,
		"Service.RequireSuperUser":    f.svc.RequireSuperUser,
		"RemoteVerifier.Authenticate": remote.verifier.Authenticate,
	} {
		for _, none := range []http.Handler{nil, http.HandlerFunc(nil)} {
			require.PanicsWithValue(t, "auth: "+call+" needs a handler, not nil", func() { wrap(none) })
		}
	}
	require.PanicsWithValue(t, "auth: Service.Mount needs a ServeMux, not nil", func() { f.svc.Mount(nil) })
}

func TestMountOnAMuxThatHasOneOfTheCallsNamesTheHostsLine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, prepare := range map[string]func(*http.ServeMux){
		"mounted twice":         func(mux *http.ServeMux) { f.svc.Mount(mux) },
		"an overlapping group":  func(mux *http.ServeMux) { f.svc.Mount(mux, auth.GroupAccount) },
		"a pattern of the host": func(mux *http.ServeMux) { mux.Handle("GET /auth/keys", http.NotFoundHandler()) },
	} {
		mux := http.NewServeMux()
		prepare(mux)
		message := func() (message string) {
			defer func() { message = fmt.Sprint(recover()) }()
			f.svc.Mount(mux)
			return ""
		}()
		require.Regexp(t, `^auth: Service\.Mount, called at \S+/wiring_test\.go:\d+, finds one of its calls `+
			`on the ServeMux: call Mount once`, message, name)
		require.Contains(t, message, "conflicts with", name)
	}
	mux := http.NewServeMux()
	f.svc.Mount(mux, auth.GroupAccount)
	f.svc.Mount(mux, auth.GroupSignIn) // groups that do not overlap
}
