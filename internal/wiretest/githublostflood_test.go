package wiretest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// addTokens adds users, each with a GitHub token that the sealing key "seal-1" is said to have
// encrypted, and returns them.
func (g *githubFixture) addTokens(count int) []auth.User {
	w := auth.Write{By: authtest.ByHost, Now: g.clock.Now, MaxTokenLifetime: time.Hour}
	users := make([]auth.User, count)
	for i := range users {
		id := fmt.Sprintf("lost-%05d", i)
		users[i] = auth.User{ID: id, Username: id, IsActive: true, CreatedAt: g.clock.Now()}
		key := auth.AccessKey{ID: "key-" + id, UserID: id, Hash: "hash", CreatedAt: g.clock.Now()}
		require.NoError(g.t, g.store.Register(g.t.Context(), w, users[i], key))
		account := auth.GitHubAccount{Host: "githubtest.invalid", ID: int64(10_000 + i)}
		require.NoError(g.t, g.store.ConnectGitHub(g.t.Context(), w, auth.GitHubConnectWrite{
			Link: auth.GitHubLink{Account: account, UserID: id, Login: id, CreatedAt: g.clock.Now(),
				SeenAt: g.clock.Now()},
			Token: auth.GitHubToken{Account: account, UserID: id, Version: id, UpdatedAt: g.clock.Now(),
				Sealed: []byte("\x02\x06seal-1 and the ciphertext")},
		}))
	}
	return users
}

// Attack: the clients of many users ask an instance that lacks a sealing key for their status, again
// and again.
func TestAMissingSealingKeyDoesNotFloodTheLogAndTheEvents(t *testing.T) {
	t.Parallel()
	d := newDroppedKey(t)
	users := d.addTokens(4200) // more than the connector can remember
	for range 2 {              // an hour later, the key is still missing
		d.log.Reset()
		for range 2 {
			for _, user := range users {
				_, err := d.other.GitHub().Status(t.Context(), user.ID)
				require.ErrorIs(t, err, auth.ErrNotFound)
			}
		}
		require.Len(t, d.events.Deliver(t, d.other), 100)
		require.Equal(t, 101, strings.Count(d.log.String(), "level=ERROR"))
		require.Equal(t, 1, strings.Count(d.log.String(), "further GitHub tokens"))
		d.clock.Advance(time.Hour)
	}
	report, err := d.other.GitHub().Reseal(t.Context()) // which reads several pages
	require.NoError(t, err)
	require.Equal(t, auth.ResealReport{Unopened: map[string]int{"seal-1": len(users) + 1}}, report)
}
