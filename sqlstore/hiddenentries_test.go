package sqlstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// An entry of the feed is missing. If ListRevocations returned the entries before it without an
// error, the reader would believe that it has read the whole feed. The reader would then accept the
// session that the missing entry revokes.
func TestFeedEntryThatStaysMissingIsAnError(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, s := twoStores(t, on, sqlstore.OpenAccounts)
		byHost := auth.Write{By: auth.ByHost("test"), Now: time.Now, MaxTokenLifetime: time.Hour}
		for _, user := range []string{"a", "b", "c", "d"} {
			_, err := stores[0].RevokeUserSessions(t.Context(), byHost, user)
			require.NoError(t, err)
		}
		_, err := s.db.Exec(`DELETE FROM ` + s.prefix + `revocations WHERE position = 3`)
		require.NoError(t, err)
		for _, from := range []int64{0, 1, 2} {
			_, err = stores[0].ListRevocations(t.Context(), from, 100)
			require.ErrorContains(t, err, "an entry is missing", from)
		}
		entries, err := stores[0].ListRevocations(t.Context(), 0, 2)
		require.NoError(t, err, "a page that ends before the missing entry")
		require.Len(t, entries, 2)

		require.NoError(t, stores[0].RevokeEverybody(t.Context(), byHost, 50),
			"the positions up to the time of the write are skipped")
		_, err = s.db.Exec(`DELETE FROM ` + s.prefix + `revocations WHERE position = 4`)
		require.NoError(t, err)
		entries, err = stores[0].ListRevocations(t.Context(), 2, 100)
		require.NoError(t, err, "entries missing before an entry for all users do no harm")
		require.Greater(t, entries[len(entries)-1].Position, int64(50))
	})
}
