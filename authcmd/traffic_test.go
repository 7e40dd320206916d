package authcmd_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

func TestTheCommandsWorkWhileUsersSignInAndOut(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, store auth.AccountStore) {
		f := newFixture(t, store)
		f.ok("init", "root")
		made := f.object("user", "add", "alice")
		pair := auth.KeyPair{AccessKey: made["access_key"].(string),
			AccessSecret: auth.NewSecret(made["access_secret"].(string))}
		instance := newFixture(t, store).host.Service // other keys, so it is another instance
		ctx, stop := context.WithCancel(t.Context())
		var traffic sync.WaitGroup
		for range 3 {
			traffic.Go(func() { signInAndOut(ctx, instance, pair) })
		}
		defer traffic.Wait()
		defer stop()
		_, onServer := store.(*sqlstore.Store)
		for range testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 10, Full: 100}) {
			added := f.object("key", "add", "alice")
			require.NoError(t, f.signIn(added))
			f.ok("key", "list", "alice")
			f.ok("session", "list", "alice")
			f.object("session", "revoke-all", "alice")
			f.ok("revoke-everybody", "-yes")
			require.Equal(t, "revoked", f.object("key", "revoke", added["access_key"].(string),
				"-yes")["status"])
			f.ok("events", "-n", "300")
			if !onServer {
				f.ok("doctor")
				continue
			}
			p := patient{fixture: f}
			require.Empty(t, p.findings("durability"), "doctor is silent about traffic")
		}
	})
}

// signInAndOut opens and revokes sessions until ctx is done.
func signInAndOut(ctx context.Context, svc *auth.Service, pair auth.KeyPair) {
	for ctx.Err() == nil {
		token, err := svc.Login(ctx, pair, auth.LoginOptions{})
		if err == nil {
			_ = svc.Tokens().RevokeToken(ctx, token.Bearer.Reveal())
		}
	}
}

func TestACommandEndsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	store, _ := openSQLite(t, "")
	f := newFixture(t, store)
	f.ok("init", "root")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"user", "list"}, {"revoke-everybody", "-yes"}, {"doctor"}, {"prune"}} {
		began := time.Now()
		got := authcmd.Run(ctx, f.host, args, authcmd.Stdio{Out: f.shown, Err: f.shown})
		require.Equal(t, authcmd.ExitFailed, got, args)
		require.Less(t, time.Since(began), 5*time.Second)
	}
}
