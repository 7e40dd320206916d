package wiretest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// These IDs cannot be stored. With every kind of store, a request with one of these IDs or with an
// invalid filter must not cause an internal error.
func TestInvalidIDsNeverAnswer5xx(t *testing.T) {
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		admin := g.signIn(g.admin)
		long := strings.Repeat("x", 3000)
		for _, id := range []string{
			"%00", "a%00b", "%ff", "%c3%28", "%ed%a0%80", long, "%F0%9F%92%A9", "%e2%80%ae", "'",
			"%25", "..%2f..", "%0d%0aX:%20y",
		} {
			for _, call := range []struct{ method, target string }{
				{"DELETE", "/auth/sessions/" + id}, {"DELETE", "/auth/keys/" + id},
				{"POST", "/auth/keys/" + id + "/rotate"},
				{"GET", "/auth/users/" + id}, {"DELETE", "/auth/users/" + id},
				{"POST", "/auth/users/" + id + "/reinstate"},
				{"POST", "/auth/users/" + id + "/regenerate-credentials"},
				{"POST", "/auth/tokens/revoke-user/" + id},
				{"GET", "/auth/users?after=" + id}, {"GET", "/auth/users?limit=" + id},
				{"GET", "/auth/events?before=" + id},
				{"GET", "/auth/events?kind=" + id}, {"GET", "/auth/events?user_id=" + id},
				{"GET", startCall + "?return_to=" + id},
				{"GET", callbackCall + "?code=" + id + "&state=" + id},
			} {
				answer := g.sendAs(admin, call.method, call.target, "")
				if answer.status >= 500 {
					t.Errorf("%s %.60q: %d %s", call.method, call.target, answer.status, answer.body)
				}
			}
		}
	})
}

// An ID that cannot be stored is not found.
func TestInvalidIDsAreNotFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	admin := f.signIn(f.admin)
	for _, id := range []string{"%00", "%ff", "%e2%80%ae"} {
		for _, call := range []struct{ method, target, body string }{
			{"GET", "/auth/users/" + id, ""}, {"DELETE", "/auth/users/" + id, ""},
			{"PATCH", "/auth/users/" + id, `{"is_active":false}`},
			{"POST", "/auth/users/" + id + "/reinstate", ""},
			{"POST", "/auth/users/" + id + "/regenerate-credentials", ""},
			{"POST", "/auth/tokens/revoke-user/" + id, ""}, {"DELETE", "/auth/sessions/" + id, ""},
			{"DELETE", "/auth/keys/" + id, ""},
		} {
			answer := f.sendAs(admin, call.method, call.target, call.body)
			if answer.status != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", call.method, call.target, answer.status, answer.body)
			}
		}
	}
}

// For an ID that cannot be stored, the library returns ErrNotFound. The call must not cause an
// event, because storing the event would fail with another error.
func TestAnIDThatCannotBeStoredIsNotFoundAndCausesNoEvent(t *testing.T) {
	t.Parallel()
	s := newStolen(t, memstore.New())
	before := s.trail()
	for _, id := range []string{"\x00", "\xff", strings.Repeat("x", 5000), "漢", "a\nb", "..\x00"} {
		for _, target := range []string{
			"/auth/keys/%s", "/auth/keys/%s/rotate", "/auth/sessions/%s",
			"/auth/tokens/revoke-user/%s", "/auth/users/%s",
		} {
			for method, body := range map[string]string{
				http.MethodDelete: "", http.MethodPost: `{}`,
				http.MethodPatch: `{"is_super_user": true}`,
			} {
				r := s.send(method, fmt.Sprintf(target, url.PathEscape(id)), body,
					"Authorization", "Bearer "+s.bearer)
				require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed},
					r.status, "%s %s: %s", method, target, r.body)
			}
		}
	}
	require.Equal(t, before, s.trail())
}
