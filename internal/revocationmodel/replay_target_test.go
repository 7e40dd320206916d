package revocationmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// tick is the interval at which an instance reads the feed.
const tick = 5 * time.Second

// targets has a function for each real store, which returns a Target with this store.
var targets = map[string]func(t testing.TB, ahead int) Target{
	"memory": newMemoryTarget,
	"SQLite": newSQLiteTarget,
}

// heldStore is a store whose inner store can be replaced, to simulate a restore.
type heldStore struct{ auth.Store }

// realTarget is two services on one store.
type realTarget struct {
	t        testing.TB
	store    *heldStore
	clocks   [2]*authtest.Clock
	signer   authtest.Signer
	services [2]*auth.Service
	away     [2]bool
	tokens   [sessions]auth.Token
	keys     int

	file    string // file of the SQLite database
	backups string
	db      *sql.DB
}

var replayedUsers = [...]string{"user-0", "user-1", "other"}

func newMemoryTarget(t testing.TB, ahead int) Target {
	return newRealTarget(t, &realTarget{t: t, store: &heldStore{memstore.New()}}, ahead)
}

func newSQLiteTarget(t testing.TB, ahead int) Target {
	dir := testenv.TempDir(t)
	target := &realTarget{t: t, store: &heldStore{}, file: filepath.Join(dir, "auth.db"),
		backups: filepath.Join(dir, "backup.db")}
	target.open()
	t.Cleanup(func() { target.db.Close() })
	return newRealTarget(t, target, ahead)
}

func (r *realTarget) open() {
	db, err := sql.Open("sqlite",
		"file:"+r.file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	require.NoError(r.t, err)
	db.SetMaxOpenConns(1)
	store, err := sqlstore.Open(r.t.Context(), db,
		sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: time.Minute})
	require.NoError(r.t, err)
	r.db, r.store.Store = db, store
}

// newRealTarget adds the users, the two instances, and the sessions that exist at the start of a
// model.
func newRealTarget(t testing.TB, r *realTarget, ahead int) Target {
	r.signer = authtest.NewSigners(t)["HS256"]
	for i := range r.clocks {
		r.clocks[i] = authtest.NewClock()
		r.clocks[i].Advance(time.Second - time.Duration(r.clocks[i].Now().Nanosecond()))
		r.clocks[i].Advance(time.Duration(i*ahead) * tick)
		r.Restart(i)
	}
	for _, id := range replayedUsers {
		user := auth.User{ID: id, Username: id, IsActive: true, CreatedAt: r.clocks[0].Now()}
		key := auth.AccessKey{ID: "key-" + id, UserID: id, Hash: "hash", CreatedAt: r.clocks[0].Now()}
		require.NoError(t, r.store.Register(t.Context(), r.write(0, auth.ByHost("replay")), user, key))
	}
	maker := r.service(0)
	for _, n := range []int{0, 3} {
		r.tokens[n] = r.issue(maker, replayedUsers[ownerOf[n]])
	}
	return r
}

// service returns a new instance.
func (r *realTarget) service(i int) *auth.Service {
	store := authtest.FaultyStore(r.store, func(method string) error {
		if r.away[i] && (method == "ListRevocations" || method == "RevocationHead") {
			return authtest.ErrStoreAway
		}
		return nil
	})
	service, err := auth.New(store, auth.Config{
		Issuer: authtest.Issuer, SigningKeys: []auth.SigningKey{r.signer.Key}, Now: r.clocks[i].Now,
		Tokens: auth.TokenConfig{Lifetime: 8 * tick, MaxLifetime: 8 * tick,
			RevocationInterval: tick, MaxStaleness: 2 * tick},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(r.t, err)
	return service
}

func (r *realTarget) issue(service *auth.Service, user string) auth.Token {
	token, err := service.SignIn(r.t.Context(), user, auth.LoginOptions{})
	require.NoError(r.t, err)
	return token
}

func (r *realTarget) write(i int, by auth.Authority) auth.Write {
	return auth.Write{By: by, Now: r.clocks[i].Now, MaxTokenLifetime: 8 * tick}
}

func (r *realTarget) Tick() {
	for _, clock := range r.clocks {
		clock.Advance(tick)
	}
}

func (r *realTarget) Create(i, n int) {
	r.tokens[n] = r.issue(r.services[i], replayedUsers[ownerOf[n]])
}

func (r *realTarget) RevokeSession(i, n int) {
	require.NoError(r.t, r.services[i].Tokens().RevokeToken(r.t.Context(), r.tokens[n].Bearer.Reveal()))
}

func (r *realTarget) revokeUser(i int, id string) {
	_, err := r.services[i].Tokens().RevokeUser(r.t.Context(), auth.ByHost("replay"), id)
	require.NoError(r.t, err)
}

func (r *realTarget) RevokeUser(i, user int) { r.revokeUser(i, replayedUsers[user]) }
func (r *realTarget) RevokeOther(i int)      { r.revokeUser(i, "other") }

func (r *realTarget) RevokeEverybody(i int) {
	require.NoError(r.t, r.services[i].RevokeEverybody(r.t.Context(), auth.ByHost("replay")))
}

func (r *realTarget) PruneSessions(i int) {
	_, err := r.store.PruneSessions(r.t.Context(), r.clocks[i].Now(), math.MaxInt32)
	require.NoError(r.t, err)
}

func (r *realTarget) Restart(i int) { r.services[i] = r.service(i) }

// SetAway sets whether the instance can read the feed. After a failed read, an instance waits a
// second before it reads again, so SetAway also advances the clocks by that second.
func (r *realTarget) SetAway(i int, away bool) {
	r.away[i] = away
	if !away {
		for _, clock := range r.clocks {
			clock.Advance(time.Second)
		}
	}
}

func (r *realTarget) Backup() {
	os.Remove(r.backups)
	_, err := r.db.Exec(`VACUUM INTO ?`, r.backups)
	require.NoError(r.t, err)
}

// Restore advances the clocks by a millisecond. A repair uses the time in microseconds as its
// position, and the repairs before and after a restore must not get the same position.
func (r *realTarget) Restore() {
	for _, clock := range r.clocks {
		clock.Advance(time.Millisecond)
	}
	require.NoError(r.t, r.db.Close())
	backup, err := os.ReadFile(r.backups)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(r.file, backup, 0o600))
	r.open()
}

func (r *realTarget) Present(i, n int) string {
	_, err := r.services[i].Tokens().Verify(r.t.Context(), r.tokens[n].Bearer.Reveal())
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, auth.ErrTokenRejected):
		return "refused"
	}
	return "unavailable"
}

func (r *realTarget) Write(i, n int) bool {
	session := r.tokens[n].Session
	r.keys++
	key := auth.AccessKey{ID: fmt.Sprint("written-", r.keys), UserID: session.UserID, Hash: "hash",
		CreatedAt: r.clocks[i].Now()}
	by := auth.Authority{SessionID: session.ID, UserID: session.UserID}
	err := r.store.AddKey(context.WithoutCancel(r.t.Context()), r.write(i, by), key)
	if !errors.Is(err, auth.ErrTokenRejected) {
		require.NoError(r.t, err)
	}
	return err == nil
}
