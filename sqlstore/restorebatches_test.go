package sqlstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// restorable is a stage with two instances of a service. The first instance serves all calls, and runs
// during the restore.
type restorable struct {
	*stage
	first, other *auth.Service
	passed       atomic.Int64    // time since the beginning, in nanoseconds
	log          strings.Builder // of the first instance
	busy         auth.KeyPair
	pairs        []auth.KeyPair
}

func newRestorable(t *testing.T, s *stage) *restorable {
	t.Helper()
	r := &restorable{stage: s}
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	instance := func(log slog.Handler) *auth.Service {
		svc, err := auth.New(s.store, auth.Config{
			Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key}, Logger: slog.New(log),
			Now: func() time.Time { return now.Add(time.Duration(r.passed.Load())) },
		})
		require.NoError(t, err)
		return svc
	}
	r.first, r.other = instance(slog.NewTextHandler(&r.log, nil)), instance(slog.DiscardHandler)
	for i := range 5 {
		user := auth.UserParams{Username: fmt.Sprint("user-", i)}
		made, err := r.first.Register(background, byHost.By, user)
		require.NoError(t, err)
		r.busy, r.pairs = made.Pair, append(r.pairs, made.Pair)
	}
	r.pairs = r.pairs[:4]
	return r
}

// backUp copies all tables, and returns a function that restores them.
func (r *restorable) backUp(t *testing.T) (restore func()) {
	t.Helper()
	for _, table := range countedTables {
		r.exec(t, `CREATE TABLE $copy_`+table+` AS SELECT * FROM $`+table)
		t.Cleanup(func() { r.exec(t, `DROP TABLE $copy_`+table) }) // another test may use the other tables
	}
	return func() {
		tx, err := r.db.BeginTx(background, nil)
		require.NoError(t, err)
		for _, table := range countedTables {
			table = r.prefix + table
			original := strings.Replace(table, r.prefix, r.prefix+"copy_", 1)
			_, err = tx.Exec(`DELETE FROM ` + table)
			require.NoError(t, err)
			_, err = tx.Exec(`INSERT INTO ` + table + ` SELECT * FROM ` + original)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
}

// run runs the function between, and then the calls. If together is true, the calls arrive before
// between begins, and then run in one batch. They wait because the COMMIT of the function busy has taken
// effect, but its answer is held.
func (r *restorable) run(
	t *testing.T, together bool, busy func() error, between func(), calls []func() error,
) {
	t.Helper()
	if !together {
		require.NoError(t, busy())
		between()
		for _, do := range calls {
			require.NoError(t, do())
		}
		return
	}
	h := newHeld()
	hold := afterwards(func() error { close(h.reached); <-h.opened; return nil })
	r.spy.watch(once("COMMIT", func() error { return hold }))
	begun := []call{begin(busy)}
	<-h.reached
	for i, do := range calls {
		begun = append(begun, begin(do))
		waitFor(t, r.store, i+1)
	}
	between()
	r.spy.watch(nil)
	close(h.opened)
	require.NoError(t, errors.Join(waitAll(t, begun)...))
}

// signIn returns a call that signs in with the pair. The call sets the token.
func (r *restorable) signIn(pair auth.KeyPair, token *auth.Token) func() error {
	return func() (err error) {
		*token, err = r.first.Login(background, pair, auth.LoginOptions{})
		return err
	}
}

// signOut returns a call that revokes the token. As soon as the revocation is acknowledged, the first
// instance must reject the token.
func (r *restorable) signOut(token auth.Token) func() error {
	return func() error {
		err := r.first.Tokens().RevokeToken(background, token.Bearer.Reveal())
		if err == nil && accepts(r.first, token) {
			err = errors.New("the token is still accepted")
		}
		return err
	}
}

func (r *restorable) signInAll(t *testing.T, together bool, between func()) []auth.Token {
	t.Helper()
	var busy auth.Token
	tokens := make([]auth.Token, len(r.pairs))
	var calls []func() error
	for i, pair := range r.pairs {
		calls = append(calls, r.signIn(pair, &tokens[i]))
	}
	r.run(t, together, r.signIn(r.busy, &busy), between, calls)
	return tokens
}

func (r *restorable) signOutAll(t *testing.T, together bool, between func(), tokens ...auth.Token) {
	t.Helper()
	var busy auth.Token
	require.NoError(t, r.signIn(r.busy, &busy)())
	var calls []func() error
	for _, token := range tokens {
		calls = append(calls, r.signOut(token))
	}
	r.run(t, together, r.signOut(busy), between, calls)
}

func accepts(svc *auth.Service, token auth.Token) bool {
	_, err := svc.Tokens().Verify(context.Background(), token.Bearer.Reveal())
	return err == nil
}

func nothing() {}

// A restore happens while the calls of a batch wait. The batch must read the head of the restored feed,
// and the first instance must notice the lost commits, just as if the calls had run one by one.
func TestARestoreBetweenBatchesIsNoticed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, together := range []bool{false, true} {
			for _, revocationsFirst := range []bool{false, true} {
				name := fmt.Sprintf("together %v, revocations first %v", together, revocationsFirst)
				t.Run(name, func(t *testing.T) {
					requireRestoreNoticed(t, newRestorable(t, newStage(t)), together, revocationsFirst)
				})
			}
		}
	})
}

func requireRestoreNoticed(t *testing.T, r *restorable, together, revocationsFirst bool) {
	old := r.signInAll(t, together, nothing)
	restore := r.backUp(t)
	restoredHead, err := r.store.RevocationHead(background)
	require.NoError(t, err)
	r.signOutAll(t, together, nothing, old[:2]...)
	ahead := r.signInAll(t, together, nothing)
	for _, token := range ahead {
		require.Greater(t, token.Session.Generation, restoredHead)
		require.True(t, accepts(r.first, token))
	}
	require.True(t, accepts(r.first, old[2]))

	var fresh []auth.Token
	if revocationsFirst {
		r.signOutAll(t, together, restore, old[2], ahead[3])
		fresh = r.signInAll(t, together, nothing)
	} else {
		fresh = r.signInAll(t, together, restore)
		for _, token := range fresh {
			require.Equal(t, restoredHead, token.Session.Generation, "the head after the restore")
		}
		r.signOutAll(t, together, nothing, old[2], fresh[3])
	}
	r.requireWholeFeed(t)

	r.passed.Add(int64(5 * time.Second)) // each instance reads the feed again
	require.False(t, accepts(r.other, ahead[0]), "the token proves the loss to every instance")
	require.False(t, accepts(r.first, old[3]))
	require.Contains(t, r.log.String(), "auth: the store has lost commits")
	for _, svc := range []*auth.Service{r.first, r.other} {
		for _, token := range append(old, ahead...) {
			require.False(t, accepts(svc, token), "all sessions of before are revoked")
		}
	}
	// If the revocations came first, the first instance has noticed the loss before it opened fresh[3].
	require.Equal(t, revocationsFirst, accepts(r.first, fresh[3]))
	require.Equal(t, revocationsFirst, accepts(r.other, fresh[3]))
	for _, token := range r.signInAll(t, together, nothing) {
		require.True(t, accepts(r.first, token))
		require.True(t, accepts(r.other, token))
	}
	r.requireWholeFeed(t)
}

// requireWholeFeed requires that the positions of the entries have no gap, except before an entry that
// revokes all sessions, and that no session is ahead of the feed.
func (r *restorable) requireWholeFeed(t *testing.T) {
	t.Helper()
	feed, err := r.store.ListRevocations(background, 1, 1000)
	require.NoError(t, err)
	last := int64(0)
	for _, e := range feed {
		require.LessOrEqual(t, e.Generation, e.Position)
		if e.UserID != "" {
			require.Equal(t, last+1, e.Position)
		}
		last = e.Position
	}
	head, err := r.store.RevocationHead(background)
	require.NoError(t, err)
	require.Equal(t, last, head)
}
