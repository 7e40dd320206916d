package recipes_test

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// limited returns the token of a session that a key of alice with these scopes opened.
func (f *fixture) limited(t *testing.T, scopes ...string) string {
	t.Helper()
	pair, err := f.svc.Credentials().Issue(t.Context(), auth.ByHost("setup"), f.alice.ID,
		auth.KeyOptions{Scopes: auth.NewScopes(scopes...)})
	require.NoError(t, err)
	token, err := f.svc.Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

func TestLimitedTokenNeedsTheScopeOfTheRoute(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		answer := h.send("GET", "/reports", "", "Bearer "+h.limited(t, "reports:read"))
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, "the reports of alice", answer.body)
		answer = h.send("GET", "/reports", "", "Bearer "+h.limited(t, "reports:write"))
		require.Equal(t, 403, answer.StatusCode)
		require.Equal(t, `{"detail":"The scopes of this token do not allow this"}`+"\n", answer.body)
		require.Equal(t, `Bearer error="insufficient_scope", scope="reports:read"`,
			answer.Header.Get("WWW-Authenticate"))
	})
}

func TestGRPCLimitedTokenNeedsTheScopeOfTheMethod(t *testing.T) {
	t.Parallel()
	for kind, call := range calls {
		f := newFixture(t)
		connection := dialProtected(t, f)
		answer, err := call(with(t, "Bearer "+f.limited(t, "reports:read")), connection)
		require.NoError(t, err, kind)
		require.Equal(t, "the reports of alice", answer)
		_, err = call(with(t, "Bearer "+f.limited(t, "reports:write")), connection)
		require.Equal(t, codes.PermissionDenied, status.Code(err), kind)
		require.Equal(t, "The scopes of this token do not allow this", status.Convert(err).Message())
	}
}

func TestGRPCLimitedTokenCannotCallAMethodWithoutAScope(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	connection := dialProtected(t, f)
	_, err := invoke(with(t, "Bearer "+f.limited(t, "reports:read")), connection, "Purge")
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.Equal(t, "The scopes of this token do not allow this", status.Convert(err).Message())
}
