package wiretest

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
)

const (
	readyAndWritable = `{"status": "ok", "store_writable": true}`
	readyOnly        = `{"status": "ok", "store_writable": false}`
	readyAndUnknown  = `{"status": "ok"}`
)

// checkedStore is a store with the method CheckWritable.
type checkedStore struct {
	auth.Store
	check func(context.Context) error
}

func (s checkedStore) CheckWritable(ctx context.Context) error { return s.check(ctx) }

// newChecked returns a fixture with the real clock, whose store has the given method CheckWritable.
func newChecked(t *testing.T, check func(context.Context) error) *fixture {
	return newFixture(t, func(f *fixture, c *auth.Config) {
		c.Now, f.store = time.Now, checkedStore{f.store, check}
	})
}

// requireReady requires that the instance is ready, and the given body.
func requireReady(t *testing.T, svc *auth.Service, body string) {
	t.Helper()
	r := send(svc.Handler(auth.GroupHealth), http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, r.status)
	require.JSONEq(t, body, r.body)
}

// This test runs in a bubble, so that the half second for the check does not pass on a busy machine.
func TestReadinessReportsWhetherTheStoreAcceptsWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.TempDir(t), "auth.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sql.Open("sqlite", sqliteDSN(path))
		require.NoError(t, err)
		defer db.Close()
		db.SetMaxOpenConns(1) // the setting below belongs to one connection
		store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
		require.NoError(t, err)
		f := newFixture(t, func(f *fixture, c *auth.Config) { c.Now, f.store = time.Now, store })
		requireReady(t, f.svc, readyAndWritable)
		_, err = db.Exec("PRAGMA query_only = 1")
		require.NoError(t, err)
		requireReady(t, f.svc, readyAndWritable)
		time.Sleep(10 * time.Second)
		requireReady(t, f.svc, readyOnly)
		require.Len(t, f.logLines("the store does not accept writes now"), 1)
		require.Contains(t, f.logLines("the store does not accept writes now")[0], "readonly database")
		_, err = db.Exec("PRAGMA query_only = 0")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		requireReady(t, f.svc, readyAndWritable)
		require.Len(t, f.logLines("the store accepts writes again"), 1)
		require.JSONEq(t, `{"status": "ok"}`,
			send(f.svc.Handler(auth.GroupHealth), http.MethodGet, "/livez", "").body)
	})
}

func TestReadinessOmitsTheWritesOfAStoreThatCannotCheckThem(t *testing.T) {
	t.Parallel()
	requireReady(t, newFixture(t).svc, readyAndUnknown)
	f := newChecked(t, func(context.Context) error { return errors.ErrUnsupported }) // a wrapper
	requireReady(t, f.svc, readyAndUnknown)
	require.Empty(t, f.logLines("accept writes"))
	f = newChecked(t, func(context.Context) error { return syscall.EOPNOTSUPP }) // of a file system
	requireReady(t, f.svc, readyOnly)
}

func TestAFailedCheckOfWritesIsLoggedOnceAndNotSentToTheClient(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error":  func() error { return errors.New("disk full at db-1") },
		"panic":  func() error { panic("disk full at db-1") },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				f := newChecked(t, func(context.Context) error {
					if broken.Load() {
						return fail()
					}
					return nil
				})
				requireReady(t, f.svc, readyAndWritable)
				broken.Store(true)
				for second := range 29 {
					time.Sleep(time.Second)
					body := readyOnly
					if second < 9 { // the next check is due after ten seconds
						body = readyAndWritable
					}
					requireReady(t, f.svc, body)
				}
				require.Len(t, f.logLines("the store does not accept writes now"), 1, f.log.String())
				if name != "goexit" {
					require.Contains(t, f.logLines("not accept writes")[0], "disk full at db-1")
				}
				broken.Store(false)
				time.Sleep(10 * time.Second)
				requireReady(t, f.svc, readyAndWritable)
				time.Sleep(time.Hour)
				requireReady(t, f.svc, readyAndWritable)
				require.Len(t, f.logLines("the store accepts writes again"), 1)
			})
		})
	}
}

// A load balancer waits only about a second for an answer. So a store that hangs in CheckWritable must not
// delay the answer, or all instances would be taken out of service.
func TestAStoreThatHangsInTheCheckOfWritesDoesNotDelayReadiness(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"until its context ends": true, "for a minute": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				var hangs atomic.Bool
				f := newChecked(t, func(ctx context.Context) error {
					calls.Add(1)
					switch {
					case !hangs.Load():
						return nil
					case heeds:
						<-ctx.Done()
						return ctx.Err()
					default:
						time.Sleep(time.Minute)
						return nil
					}
				})
				requireReady(t, f.svc, readyAndWritable)
				hangs.Store(true)
				time.Sleep(10 * time.Second)
				hung := time.Now() // the next call begins a check
				for time.Since(hung) < 40*time.Second {
					began := time.Now()
					body := readyAndWritable
					if time.Since(hung) >= 5*time.Second {
						body = readyOnly
					}
					requireReady(t, f.svc, body)
					require.LessOrEqual(t, time.Since(began), 500*time.Millisecond)
					time.Sleep(time.Second)
				}
				if !heeds {
					require.EqualValues(t, 2, calls.Load(), "one check at a time")
				}
				hangs.Store(false)
				time.Sleep(time.Minute)
				requireReady(t, f.svc, readyAndWritable)
				require.Len(t, f.logLines("the store accepts writes again"), 1)
			})
		})
	}
}

// If the latest result is old, and the store does not answer, it is not known whether the store still
// accepts writes.
func TestAnOldResultOfTheCheckOfWritesIsNotReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		f := newChecked(t, func(ctx context.Context) error {
			if hangs.Load() {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		requireReady(t, f.svc, readyAndWritable)
		hangs.Store(true)
		time.Sleep(15 * time.Second)
		requireReady(t, f.svc, readyAndUnknown)
		time.Sleep(5 * time.Second)
		requireReady(t, f.svc, readyOnly)
	})
}

func TestAFloodOfReadinessChecksWritesOnceInTenSeconds(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"answers": nil, "fails": authtest.ErrStoreAway,
		"hangs": authtest.ErrHang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var writes atomic.Int64
				f := newChecked(t, func(ctx context.Context) error {
					writes.Add(1)
					if errors.Is(fault, authtest.ErrHang) {
						<-ctx.Done()
						return ctx.Err()
					}
					return fault
				})
				began := time.Now()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						for time.Since(began) < 35*time.Second {
							ready(f.svc)
							time.Sleep(500 * time.Millisecond)
						}
					})
				}
				all.Wait()
				require.EqualValues(t, 4, writes.Load())
			})
		})
	}
}

// A client that closes its connection must not make the store unwritable for others.
func TestACanceledReadinessCheckLetsTheCheckOfWritesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newChecked(t, func(ctx context.Context) error {
			time.Sleep(time.Second)
			return ctx.Err()
		})
		require.Equal(t, http.StatusOK, ready(f.svc))
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil)
		require.NoError(t, err)
		time.AfterFunc(100*time.Millisecond, cancel)
		serve(f.svc.Handler(auth.GroupHealth), r)
		time.Sleep(time.Second)
		requireReady(t, f.svc, readyAndWritable)
	})
}

func TestAnInstanceThatIsNotReadyDoesNotWrite(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	f := newFixture(t, func(f *fixture, _ *auth.Config) {
		f.store = checkedStore{f.store, func(context.Context) error { writes.Add(1); return nil }}
	}, func(f *fixture, c *auth.Config) {
		check := f.store.(checkedStore).check
		f.injectFaults(func(method string) error {
			if method == "ListRevocations" {
				return authtest.ErrStoreAway
			}
			return nil
		})
		f.store = checkedStore{f.store, check}
	})
	f.clock.Advance(time.Hour)
	require.Equal(t, http.StatusServiceUnavailable, ready(f.svc))
	require.Zero(t, writes.Load())
}
