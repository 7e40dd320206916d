package sqlstore_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// extraBegin returns 1 if two statements begin a transaction, and 0 if one does.
func (s *stage) extraBegin() int {
	if slices.Contains(s.spy.verbs(), "SET") {
		return 1
	}
	return 0
}

// A sign-in adds no event to the audit trail. So it needs no more statements than it needed before
// the trail existed.
func TestSignInNeedsNoStatementForTheTrail(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		// The keys of the map are limits on the number of sessions, and the values are maximum
		// numbers of statements. The user already has two sessions. The numbers were counted in
		// commit b84fac9, before the trail existed.
		for limit, most := range map[int]int{0: 7, 10: 8, 1: 13} {
			s.seeded(t)
			_, _, err := s.store.CreateSession(context.Background(),
				newSession("s-new", "ada", "k-ada"), limit)
			require.NoError(t, err)
			statements := afterRollback(s.spy.statements())
			require.LessOrEqual(t, len(statements), most+s.extraBegin(), "%d: %v", limit, statements)
		}

		key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
		require.NoError(t, err)
		for _, off := range []bool{false, true} {
			s.seeded(t)
			svc, err := auth.New(s.store, auth.Config{
				Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
				DisableAuditTrail: off,
				OnEvent:           func(auth.Event) {}, Proxies: auth.NoProxies(),
				Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			made, err := svc.Register(context.Background(), byHost.By, auth.UserParams{Username: "bob"})
			require.NoError(t, err)
			_, err = svc.Login(context.Background(), made.Pair, auth.LoginOptions{})
			require.NoError(t, err) // the feed was read for the first time
			s.spy.watch(nil)
			_, err = svc.Login(context.Background(), made.Pair, auth.LoginOptions{})
			require.NoError(t, err)
			statements := s.spy.statements()
			require.LessOrEqual(t, len(statements), 9+s.extraBegin(), "off: %v: %v", off, statements)
		}
	})
}

func TestEachLastingVerbAddsOneStatementForItsEvent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		run := func(v verb) []string {
			s.seeded(t)
			require.NoError(t, v.call(context.Background(), s.store))
			return s.spy.statements()
		}
		for name, w := range map[string]auth.Write{"host": byHost,
			"session": bySession("s-eve", "eve")} {
			off, on := w, w
			off.Event, off.Deliver = auth.Event{}, false
			on.Event, on.Deliver = auth.Event{Kind: "test", Host: w.By.Host, ActorID: w.By.UserID}, true
			without := lastingVerbs(off)
			for i, v := range lastingVerbs(on) {
				got, want := run(v), run(without[i])
				if strings.HasPrefix(v.name, "SignInGitHub") && v.name != "SignInGitHub of a new user" {
					require.Equal(t, want, got,
						"the account is linked already, and its user is a super user")
					continue
				}
				at := slices.IndexFunc(got, func(statement string) bool {
					return strings.HasPrefix(statement, "INSERT INTO "+s.prefix+"events ")
				})
				require.GreaterOrEqual(t, at, 0, v.name)
				require.Equal(t, want, slices.Delete(slices.Clone(got), at, at+1), "%s by the %s",
					v.name, name)
			}
		}
	})
}
