package memstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

func claimsOf(sessionID string, expiresAt time.Time) auth.SessionClaims {
	return auth.SessionClaims{UserID: "u", SessionID: sessionID, ExpiresAt: expiresAt}
}

func feedOf(t *testing.T, store auth.AccountStore) []auth.Revocation {
	t.Helper()
	feed, err := store.ListRevocations(t.Context(), 0, 1_000_000)
	require.NoError(t, err)
	return feed
}

// In the feed, an empty user ID stands for all users. So no user may have an empty ID.
func TestRevokeUserSessionsRefusesEmptyAndOverlongUserID(t *testing.T) {
	t.Parallel()
	store := memstore.NewAccounts()
	for _, id := range []string{"", strings.Repeat("u", auth.MaxIDLength+1)} {
		_, err := store.RevokeUserSessions(t.Context(), byHost, id)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
	require.Empty(t, feedOf(t, store))
}

func TestRevokeTokenAddsEntryForTokenThatOutlivesRevokeEverybody(t *testing.T) {
	t.Parallel()
	store := memstore.New()
	require.NoError(t, store.RevokeEverybody(t.Context(), byHost, 0))
	end := now.Add(byHost.MaxTokenLifetime)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf("s", end)))
	require.Len(t, feedOf(t, store), 1)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf("s", end.Add(time.Second))))
	require.Len(t, feedOf(t, store), 2)
}

func TestRevokeTokenRevokesNoSessionOfAnotherUser(t *testing.T) {
	t.Parallel()
	store := memstore.NewAccounts()
	session := auth.Session{ID: "s", UserID: "other", Method: auth.MethodHost, CreatedAt: now,
		ExpiresAt: now.Add(time.Hour)}
	_, _, err := store.CreateSession(t.Context(), session, 0)
	require.NoError(t, err)
	require.NoError(t, store.RevokeToken(t.Context(), claimsOf("s", now.Add(time.Hour))))
	_, err = store.FindSession(t.Context(), "s")
	require.NoError(t, err)
}
