package oauth_test

import (
	"database/sql"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// openFile opens a store in a file.
func openFile(t *testing.T, path string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	store, err := sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(t, err)
	return store, db
}

// deviceStores are one store for both instances, or two stores of the same file.
var deviceStores = map[string]func(t *testing.T) (one, two auth.Store){
	"memory": func(*testing.T) (auth.Store, auth.Store) {
		store := memstore.New()
		return store, store
	},
	"SQLite": func(t *testing.T) (auth.Store, auth.Store) {
		path := filepath.Join(t.TempDir(), "auth.db")
		one, _ := openFile(t, path)
		two, _ := openFile(t, path)
		return one, two
	},
}

// The attack: a device redeems its code on two instances at once, to get two sessions.
func TestOfManyRedemptionsOnTwoInstancesOneSucceeds(t *testing.T) {
	t.Parallel()
	for name, open := range deviceStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := open(t)
			// A flood of polls would be told to slow down before it reaches the store.
			unlimited := func(cfg *auth.Config) { cfg.Throttling.Off = true }
			d := newDevicesOn(t, one, unlimited)
			instances := []*fixture{d.fixture, d.another(t, two, unlimited)}
			code, userCode := d.codes()
			d.signIn(d.ada.Pair).approve(userCode)
			statuses := make([]int, 64)
			var running sync.WaitGroup
			for i := range statuses {
				running.Go(func() { statuses[i] = instances[i%2].poll(code).status })
			}
			running.Wait()
			succeeded := 0
			for _, status := range statuses {
				if status == 200 {
					succeeded++
					continue
				}
				require.Equal(t, 400, status)
			}
			require.Equal(t, 1, succeeded)
			require.Len(t, d.deviceSessions(d.fixture), 1)
		})
	}
}

// The attack: two browser sessions race for one code, or one person races to approve and to deny.
func TestOfManyDecisionsOnTwoInstancesOneSucceeds(t *testing.T) {
	t.Parallel()
	for name, open := range deviceStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := open(t)
			unlimited := func(cfg *auth.Config) { cfg.Throttling.Off = true }
			d := newDevicesOn(t, one, unlimited)
			second := d.another(t, two, unlimited)
			code, userCode := d.codes()
			browsers := []*browser{d.signIn(d.ada.Pair), d.signIn(d.ada.Pair)}
			elsewhere := []*browser{{second, browsers[0].cookie}, {second, browsers[1].cookie}}
			counts := map[string]int{}
			var mu sync.Mutex
			var running sync.WaitGroup
			for i := range 64 {
				running.Go(func() {
					b := append(browsers, elsewhere...)[i%4]
					name := []string{"approve", "deny"}[i/4%2]
					looked := b.call("lookup", userCode).status
					decided := b.call(name, userCode).status
					mu.Lock()
					defer mu.Unlock()
					if looked == 200 {
						counts[b.cookie]++
					}
					if decided == 204 {
						counts[name]++
					}
				})
			}
			running.Wait()
			require.Equal(t, 1, counts["approve"]+counts["deny"])
			require.Zero(t, min(counts[browsers[0].cookie], counts[browsers[1].cookie]),
				"only one session has seen the device")
			require.Equal(t, counts["approve"] == 1, d.poll(code).status == 200)
		})
	}
}

// The attack: the approving session is revoked on one instance, and the device redeems on another one that
// has not heard of it. Or a person notices that the device is an attacker's, and revokes all sessions except
// the approving one. There was no session of the device to revoke yet.
func TestARevocationElsewhereHoldsForTheNextRedemption(t *testing.T) {
	t.Parallel()
	for name, open := range deviceStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := open(t)
			d := newDevicesOn(t, one)
			second := d.another(t, two)
			code, userCode := second.codes()
			b := d.signIn(d.ada.Pair)
			b.approve(userCode)
			r := b.request("/auth/sessions?except=current", "")
			r.Method = http.MethodDelete
			response, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			response.Body.Close()
			require.Equal(t, 200, response.StatusCode)
			require.Equal(t, "invalid_grant", second.poll(code).code())

			code, userCode = second.codes()
			b.approve(userCode)
			_, err = d.svc.Tokens().RevokeUser(t.Context(), byHost, d.ada.User.ID)
			require.NoError(t, err)
			require.Equal(t, "invalid_grant", second.poll(code).code())
		})
	}
}

// The attack: the database is restored from a backup, and an approved code that was redeemed comes back.
// After the revocation of all sessions, which follows lost commits, it opens nothing.
func TestACodeThatARestoredStoreBringsBackOpensNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, db := openFile(t, filepath.Join(dir, "auth.db"))
	d := newDevicesOn(t, store)
	code, userCode := d.codes()
	b := d.signIn(d.ada.Pair)
	b.approve(userCode)
	backup := filepath.Join(dir, "backup.db")
	_, err := db.Exec(`VACUUM INTO ?`, backup)
	require.NoError(t, err)

	token := d.poll(code).body["access_token"].(string)
	require.NotEmpty(t, token)
	// These revocations are lost with the restore. The next token then has a greater generation than the
	// restored feed.
	_, err = d.svc.Tokens().RevokeUser(t.Context(), byHost, d.ada.User.ID)
	require.NoError(t, err)
	later, err := d.svc.Login(t.Context(), d.ada.Pair, auth.LoginOptions{})
	require.NoError(t, err)

	restored, _ := openFile(t, backup)
	after := d.another(t, restored)
	_, err = after.svc.Tokens().Verify(t.Context(), later.Bearer.Reveal())
	require.ErrorIs(t, err, auth.ErrTokenRejected, "the token shows that commits were lost")
	a := after.post("/auth/token", url.Values{
		"grant_type": {grantDevice}, "client_id": {"cli"}, "device_code": {code}})
	require.Equal(t, "invalid_grant", a.code(), a.text)
	sessions, err := restored.ListSessions(t.Context(), d.ada.User.ID, d.clock.Now())
	require.NoError(t, err)
	require.Empty(t, sessions)
}
