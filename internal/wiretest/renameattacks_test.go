package wiretest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The attack: two users are renamed to the names of a person who signs in with GitHub for the first time, at
// the same moment. Each name goes to one user. The sign-in succeeds, because GitHub's names are only wishes.
func TestRenamesThatRaceAFirstSignInLeaveEachNameToOneUser(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for range raceRounds(t) {
			g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
				g.store = open(t)
			}})
			p, renamed := g.pending(), []auth.User{g.user, g.other()}
			names := []string{octocatLogin, strings.ToUpper(octocatLogin)}
			errs, status := make([]error, 8), 0
			var running sync.WaitGroup
			running.Go(func() { status = g.sendCallback(p).status })
			for i := range errs {
				running.Go(func() {
					change := auth.UserChange{Username: &names[i%2], Email: new(names[i%2] + "@example.com")}
					_, errs[i] = g.svc.UpdateUser(t.Context(), authtest.ByHost, renamed[i%2].ID, change)
				})
			}
			running.Wait()
			require.Equal(t, http.StatusOK, status)
			for _, err := range errs {
				if err != nil {
					require.ErrorIs(t, err, auth.ErrExists)
				}
			}
			users, err := g.store.ListUsers(t.Context(), auth.UserQuery{Limit: 100})
			require.NoError(t, err)
			taken := map[string]int{}
			for _, user := range users {
				taken[auth.FoldASCII(user.Username)]++
				taken[auth.FoldASCII(user.Email)]++
			}
			delete(taken, "")
			for name, n := range taken {
				require.Equal(t, 1, n, name)
			}
			require.Equal(t, 1, taken[octocatLogin])
			require.Equal(t, 1, taken["octocat@example.com"])
		}
	})
}

// The user is deleted while an export runs. The export ends, and is whole, or there is no such user.
func TestAnExportDuringTheDeletionOfItsUserEnds(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, method := range []string{"FindUser", "ListRetiredUsernames", "ListKeys", "ListSessions",
			"ListGitHubAccounts", "FindGitHubConnection", "ListEvents"} {
			var deleteBefore string
			f := &fixture{}
			f = newFixture(t, func(n *fixture, _ *auth.Config) {
				n.store = authtest.FaultyStore(open(t), func(called string) error {
					if called != deleteBefore {
						return nil
					}
					deleteBefore = ""
					return f.svc.DeleteUser(context.Background(), authtest.ByHost, f.user.ID)
				})
			})
			f.login(f.userPair)
			deleteBefore = method
			var text bytes.Buffer
			err := f.svc.ExportUser(t.Context(), &text, f.user.ID)
			if method == "FindUser" {
				require.ErrorIs(t, err, auth.ErrNotFound)
				require.Empty(t, text.String())
				continue
			}
			require.NoError(t, err, method)
			require.True(t, json.Valid(text.Bytes()), text.String())
			require.NotContains(t, text.String(), f.userPair.AccessSecret.Reveal())
		}
	})
}

// The clock of an instance jumps between the rounds. No key has an event twice.
func TestAClockThatJumpsRepeatsNoEventOfAnExpiringKey(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, jump := range []time.Duration{time.Minute, day, 16 * day, 29 * day} {
			f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = open(t) })
			key := f.keyFor(30 * day)
			for passed := range 31 {
				for _, by := range []time.Duration{jump, -jump} {
					f.clock.Advance(by)
					require.NoError(t, errorOf(f.svc.Prune(t.Context())))
				}
				require.LessOrEqual(t, len(f.noticesOf(key)), 2, passed)
				f.clock.Advance(day)
			}
			notices := f.noticesOf(key)
			require.NotEmpty(t, notices)
			for _, notice := range notices {
				require.Contains(t, notice, "at 2026-02-01T03:04:05Z", "the event has the right time")
			}
		}
	})
}
