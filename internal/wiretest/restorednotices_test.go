package wiretest

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
)

// trailStore is a store with an audit trail.
type trailStore interface {
	auth.Store
	auth.EventStore
}

// restorableStore is a store that services use while a backup of it is restored.
type restorableStore struct {
	trailStore
	backUp     func()
	fromBackup func() trailStore
}

func (r *restorableStore) restore() { r.trailStore = r.fromBackup() }

// onRestorableStores runs the test with a store in memory and with SQLite.
func onRestorableStores(t *testing.T, test func(t *testing.T, f *fixture, store *restorableStore)) {
	for name, open := range map[string]func(*testing.T) *restorableStore{
		"memory": restorableMemory, "SQLite": restorableSQLite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			test(t, newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store }), store)
		})
	}
}

func restorableSQLite(t *testing.T) *restorableStore {
	path := filepath.Join(testenv.TempDir(t), "auth.db")
	open := func(path string) trailStore {
		return openSQL(t, "sqlite", sqliteDSN(path), sqlstore.Config{Dialect: sqlstore.SQLite}).(trailStore)
	}
	return &restorableStore{
		trailStore: open(path),
		backUp:     func() { copyDatabase(t, path, path+"-backup") },
		fromBackup: func() trailStore {
			copyDatabase(t, path+"-backup", path+"-restored")
			return open(path + "-restored")
		},
	}
}

// restorableMemory returns a store in memory. Its backup is a list of writes, which the restored store gets.
func restorableMemory(t *testing.T) *restorableStore {
	recorded := &recordedWrites{Store: memstore.New()}
	var backup []func(*memstore.Store) error
	return &restorableStore{
		trailStore: recorded,
		backUp:     func() { backup = slices.Clone(recorded.writes) },
		fromBackup: func() trailStore {
			restored := memstore.New()
			for _, write := range backup {
				require.NoError(t, write(restored))
			}
			return restored
		},
	}
}

// recordedWrites is a store that keeps the successful writes of users, keys, clients and notices, each with
// its time.
type recordedWrites struct {
	*memstore.Store
	writes []func(*memstore.Store) error
}

func (r *recordedWrites) do(w auth.Write, write func(*memstore.Store, auth.Write) error) error {
	now := w.Now()
	w.Now = func() time.Time { return now }
	err := write(r.Store, w)
	if err == nil {
		r.writes = append(r.writes, func(s *memstore.Store) error { return write(s, w) })
	}
	return err
}

func (r *recordedWrites) Bootstrap(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) error {
	return r.do(w, func(s *memstore.Store, w auth.Write) error { return s.Bootstrap(ctx, w, user, key) })
}

func (r *recordedWrites) Register(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) error {
	return r.do(w, func(s *memstore.Store, w auth.Write) error { return s.Register(ctx, w, user, key) })
}

func (r *recordedWrites) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	return r.do(w, func(s *memstore.Store, w auth.Write) error { return s.AddKey(ctx, w, key) })
}

func (r *recordedWrites) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (isNew bool, err error) {
	ctx = context.WithoutCancel(ctx) // the write is repeated after the sign-in
	err = r.do(w, func(s *memstore.Store, w auth.Write) (err error) {
		isNew, err = s.RememberClient(ctx, w, client)
		return err
	})
	return isNew, err
}

func (r *recordedWrites) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) error {
	return r.do(w, func(s *memstore.Store, w auth.Write) error {
		return s.RecordExpiryNotice(ctx, w, id, lead)
	})
}

// The clients that were new after the backup are new again, once each, although the user signs in from all
// of them on two instances.
func TestAfterARestoreTheEventOfANewClientComesOnceMore(t *testing.T) {
	t.Parallel()
	onRestorableStores(t, func(t *testing.T, f *fixture, store *restorableStore) {
		f.signInFrom(f.svc, "192.0.2.1", "first")
		f.signInFrom(f.svc, "192.0.2.1", "before the backup")
		want := []string{"192.0.2.1 before the backup"}
		store.backUp()
		agents := []string{"first", "before the backup"}
		for c := 'a'; c <= 't'; c++ {
			agents, want = append(agents, string(c)), append(want, "192.0.2.1 "+string(c))
			f.signInFrom(f.svc, "192.0.2.1", string(c))
		}
		require.Equal(t, want, f.newClientsOf(f.user))

		store.restore()
		require.Equal(t, want[:1], f.newClientsOf(f.user), "the events are lost with the clients")
		f.log.Reset()
		restarted := []*auth.Service{f.another(t), f.another(t)}
		for range 2 {
			for _, agent := range agents {
				for _, svc := range restarted {
					f.signInFrom(svc, "192.0.2.1", agent)
				}
			}
		}
		require.Equal(t, want, f.newClientsOf(f.user))
		require.Equal(t, len(want)-1, strings.Count(f.log.String(), "auth: sign_in.new_client"))
		require.NotContains(t, f.log.String(), "was not remembered")
	})
}

// If the user had not signed in before the backup, the next client is the first one again.
func TestAfterARestoreToBeforeTheFirstSignInTheNextClientIsTheFirst(t *testing.T) {
	t.Parallel()
	onRestorableStores(t, func(t *testing.T, f *fixture, store *restorableStore) {
		store.backUp()
		f.signInFrom(f.svc, "192.0.2.1", "first")
		f.signInFrom(f.svc, "192.0.2.1", "second")
		require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(f.user))
		store.restore()
		restarted := f.another(t)
		for range 2 {
			f.signInFrom(restarted, "192.0.2.1", "second")
			f.signInFrom(restarted, "192.0.2.1", "first")
		}
		require.Equal(t, []string{"192.0.2.1 first"}, f.newClientsOf(f.user))
	})
}

// An instance that was not restarted knows its clients for a day longer than the store.
func TestAnInstanceThatRunsDuringARestoreRepeatsTheEventOfANewClientADayLater(t *testing.T) {
	t.Parallel()
	onRestorableStores(t, func(t *testing.T, f *fixture, store *restorableStore) {
		f.signInFrom(f.svc, "192.0.2.1", "first")
		store.backUp()
		f.signInFrom(f.svc, "192.0.2.1", "second")
		require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(f.user))
		store.restore()
		f.signInFrom(f.svc, "192.0.2.1", "second")
		require.Empty(t, f.newClientsOf(f.user))
		f.signInFrom(f.svc, "192.0.2.1", "third")
		require.Equal(t, []string{"192.0.2.1 third"}, f.newClientsOf(f.user))
		f.clock.Advance(day)
		for range 2 {
			f.signInFrom(f.svc, "192.0.2.1", "second")
			f.signInFrom(f.another(t), "192.0.2.1", "second")
		}
		require.Equal(t, []string{"192.0.2.1 third", "192.0.2.1 second"}, f.newClientsOf(f.user))
		require.NotContains(t, f.log.String(), "was not remembered")
	})
}

// A key expires after 20 days. Its events come again if they are newer than the backup.
func TestAfterARestoreTheEventsOfAnExpiringKeyComeOnceMore(t *testing.T) {
	t.Parallel()
	const inTwoWeeks, inADay = "in 14 days, at 2026-01-22T03:04:05Z", "in 24 hours, at 2026-01-22T03:04:05Z"
	for name, test := range map[string]struct {
		backedUp, restored time.Duration // after the key was made
		before, want       []string      // events just before the restore, and at the end
		repeated           int           // events after the restore
	}{
		"before both events": {day, 5 * day, nil, []string{inTwoWeeks, inADay}, 2},
		"between the events, with the first": {7 * day, 10 * day,
			[]string{inTwoWeeks}, []string{inTwoWeeks, inADay}, 1},
		"between the events, without the first": {5 * day, 7 * day,
			[]string{inTwoWeeks}, []string{"in 13 days, at 2026-01-22T03:04:05Z", inADay}, 2},
		"after both events, with the first": {7 * day, 19*day + 12*time.Hour,
			[]string{inTwoWeeks, inADay}, []string{inTwoWeeks, "in 12 hours, at 2026-01-22T03:04:05Z"}, 1},
		"after both events, without them": {5 * day, 19*day + 12*time.Hour,
			[]string{inTwoWeeks, inADay}, []string{"in 12 hours, at 2026-01-22T03:04:05Z"}, 1},
		"after both events, with them": {19*day + 6*time.Hour, 19*day + 12*time.Hour,
			[]string{inTwoWeeks, inADay}, []string{inTwoWeeks, inADay}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onRestorableStores(t, func(t *testing.T, f *fixture, store *restorableStore) {
				key, services := f.keyFor(20*day), []*auth.Service{f.svc}
				for passed := time.Duration(0); passed <= 21*day; passed += 6 * time.Hour {
					if passed == test.restored {
						require.Equal(t, test.before, f.noticesOf(key))
						store.restore()
						f.log.Reset()
						services = append(services, f.another(t)) // and an instance that was not restarted
					}
					for _, svc := range services {
						_, err := svc.Prune(t.Context())
						require.NoError(t, err)
					}
					if passed == test.backedUp {
						store.backUp()
					}
					f.clock.Advance(6 * time.Hour)
				}
				require.Equal(t, test.want, f.noticesOf(key))
				require.Equal(t, test.repeated, strings.Count(f.log.String(), "auth: key.expiring"))
			})
		})
	}
}
