package wiretest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// The attack: a host lets people who have lost a key sign in by e-mail. A thief with a limited key of a super
// user makes an account with an address of the thief, or enables one that has an address. The sign-in by
// e-mail would then have no limit.
func TestALimitedSessionMakesNoAccountThatCanSignInByEmail(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		limited, unlimited := f.limited(f.admin, allScopes...), f.signIn(f.admin)
		for _, path := range []string{"/api/v1/user/register", "/auth/users/register"} {
			for _, service := range []string{"", `, "is_service": true`, `, "must_rotate": true`} {
				body := `{"username": "thief", "email": "thief@example.com"` + service + `}`
				requireLacks(t, "", f.sendAs(limited, http.MethodPost, path, body), body)
			}
		}
		by := auth.Authority{UserID: f.admin.ID, SessionID: f.open(f.keyOf(f.admin,
			auth.NewScopes(allScopes...))).Session.ID, SuperUser: true}
		imported := strings.Replace(line("thief"), `"hash"`, `"scopes":["reports:read"],"hash"`, 1)
		_, err := f.svc.ImportUsers(t.Context(), by, strings.NewReader(imported), auth.ImportOptions{})
		requireInsufficient(t, "", err)
		require.Equal(t, http.StatusOK, f.sendAs(limited, http.MethodPost, "/auth/users/register",
			`{"username": "thief"}`).status, "nobody has the name")

		reinstate := "/auth/users/" + f.user.ID + "/reinstate"
		f.setActive(f.user, false)
		requireLacks(t, "", f.sendAs(limited, http.MethodPost, reinstate, ""))
		user, err := f.store.FindUser(t.Context(), f.user.ID)
		require.NoError(t, err)
		require.False(t, user.IsActive)
		regenerate := "/auth/users/" + f.user.ID + "/regenerate-credentials"
		require.Equal(t, http.StatusOK, f.sendAs(limited, http.MethodPost, regenerate, "").status,
			"the user stays disabled")

		require.Equal(t, http.StatusOK, f.sendAs(unlimited, http.MethodPost, reinstate, "").status)
		require.Equal(t, http.StatusOK, f.sendAs(limited, http.MethodPost, reinstate, "").status,
			"the user is active already")
		f.setActive(f.user, false)
		require.Equal(t, http.StatusOK, f.sendAs(limited, http.MethodPatch, "/auth/users/"+f.user.ID,
			`{"email": null}`).status)
		made := f.sendAs(limited, http.MethodPost, reinstate, "")
		require.Equal(t, http.StatusOK, made.status, "without an address, the new key is the only way in")
		require.True(t, auth.NewScopes(allScopes...).Equal(f.scopesOf(made.pair(t))))
	})
}
