package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

// instances is a fixture with two instances of a service that share a store.
type instances struct {
	*fixture
	other *auth.Service
	fault atomic.Pointer[error] // error of each read of the feed; may be nil
	reads atomic.Int64          // number of reads of the feed
}

func newInstances(t testing.TB, change ...func(*auth.Config)) *instances {
	in := &instances{}
	var cfg auth.Config
	in.fixture = newFixture(t, func(f *fixture, c *auth.Config) {
		f.store = authtest.FaultyStore(f.store, func(method string) error {
			if method != "ListRevocations" {
				return nil
			}
			in.reads.Add(1)
			if err := in.fault.Load(); err != nil {
				return *err
			}
			return nil
		})
		for _, change := range change {
			change(c)
		}
		c.SigningKeys = []auth.SigningKey{f.signer.Key}
		cfg = *c
	})
	var err error
	in.other, err = auth.New(in.store, cfg)
	require.NoError(t, err)
	return in
}

func (in *instances) fail(err error) {
	if err == nil {
		in.fault.Store(nil)
		return
	}
	in.fault.Store(&err)
}

// status sends a request with the token to a route that requires one, and returns the status.
func status(svc *auth.Service, token string) int {
	return send(svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
		http.MethodGet, "/", "", "Authorization", "Bearer "+token).status
}

// revocations contains a function for each way to revoke the token of a user.
var revocations = map[string]func(in *instances, token string) error{
	"signing out": func(in *instances, token string) error {
		if r := in.sendAs(token, http.MethodPost, "/auth/logout", ""); r.status != http.StatusOK {
			return fmt.Errorf("status %d", r.status)
		}
		return nil
	},
	"revoking the key": func(in *instances, _ string) error {
		return in.svc.Credentials().Revoke(context.Background(), authtest.ByHost, in.userPair.AccessKey)
	},
	"revoking all sessions": func(in *instances, _ string) error {
		_, err := in.svc.Tokens().RevokeUser(context.Background(), authtest.ByHost, in.user.ID)
		return err
	},
	"disabling the user": func(in *instances, _ string) error {
		_, err := in.svc.UpdateUser(context.Background(), authtest.ByHost, in.user.ID,
			auth.UserChange{IsActive: new(false)})
		return err
	},
	"deleting the user": func(in *instances, _ string) error {
		return in.svc.DeleteUser(context.Background(), authtest.ByHost, in.user.ID)
	},
	"recovering a super user": func(in *instances, _ string) error {
		_, err := in.svc.RecoverSuperUser(context.Background(), in.user.ID)
		return err
	},
}

func (in *instances) loginToken(t testing.TB) string {
	token, err := in.svc.Login(t.Context(), in.userPair, auth.LoginOptions{})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

func TestARevokedTokenIsRejectedAtOnceHereAndAfterTheIntervalElsewhere(t *testing.T) {
	t.Parallel()
	for name, revoke := range revocations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstances(t)
			token := in.loginToken(t)
			require.Equal(t, http.StatusOK, status(in.svc, token))
			require.Equal(t, http.StatusOK, status(in.other, token))
			require.NoError(t, revoke(in, token))
			require.Equal(t, http.StatusUnauthorized, status(in.svc, token))

			in.clock.Advance(5*time.Second - 1)
			require.Equal(t, http.StatusOK, status(in.other, token),
				"the other instance does not read the feed before the interval is over")
			in.clock.Advance(1)
			require.Equal(t, http.StatusUnauthorized, status(in.other, token))
		})
	}
}

func TestASignInRightAfterRevokeUserIsValid(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	old := in.signIn(in.user)
	_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
	require.NoError(t, err)
	fresh := in.signIn(in.user) // in the same second as the revocation
	for _, svc := range []*auth.Service{in.svc, in.other} {
		require.Equal(t, http.StatusUnauthorized, status(svc, old))
		require.Equal(t, http.StatusOK, status(svc, fresh))
	}
}

func TestRequestsReadTheFeedOncePerInterval(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	require.Zero(t, in.reads.Load())
	for range 3 {
		for range 10 {
			require.Equal(t, http.StatusOK, status(in.svc, token))
		}
		in.clock.Advance(5 * time.Second)
	}
	require.EqualValues(t, 3, in.reads.Load())
}

func TestAnInvalidTokenDoesNotReadTheFeed(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	for _, bad := range []string{"", "x", token[:len(token)-1], flipCase(token, len(token)-3)} {
		require.Equal(t, http.StatusUnauthorized, status(in.svc, bad))
	}
	require.Zero(t, in.reads.Load())
}

func TestRunPollsTheFeedSoThatRequestsNeedNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
		token := in.signIn(in.user)
		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan error)
		go func() { running <- in.other.Run(ctx) }()
		synctest.Wait()
		in.fault.Store(nil)
		for range 100 {
			before := in.reads.Load()
			require.Equal(t, http.StatusOK, status(in.other, token))
			require.Equal(t, before, in.reads.Load(), "a request reads nothing")
			time.Sleep(900 * time.Millisecond)
			synctest.Wait()
		}
		_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, http.StatusUnauthorized, status(in.other, token))

		in.fail(authtest.ErrStoreAway)
		time.Sleep(30 * time.Second)
		in.fail(nil)
		time.Sleep(3 * time.Second)
		cancel()
		require.ErrorIs(t, <-running, context.Canceled)
		require.Contains(t, in.log.String(), "the revocation feed cannot be read")
		require.Contains(t, in.log.String(), "the revocation feed can be read again")
	})
}

func TestRunReadsTheFeedEverySecondWithRequestsAndOnceInAnIntervalWithout(t *testing.T) {
	t.Parallel()
	const length = 50*time.Second + time.Millisecond
	for interval, reads := range map[time.Duration]struct{ idle, busy int64 }{ // idle after 30 seconds
		0:                      {30 + 7, 52}, // the interval is five seconds
		3 * time.Second:        {30 + 12, 52},
		2 * time.Second:        {52, 52},
		time.Second:            {100, 100},
		200 * time.Millisecond: {500, 500},
	} {
		for busy, want := range map[bool]int64{false: reads.idle, true: reads.busy} {
			t.Run(fmt.Sprint(interval, " busy ", busy), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					in := newInstances(t, func(c *auth.Config) {
						c.Now, c.Tokens.RevocationInterval = time.Now, interval
					})
					token := in.signIn(in.user)
					before := in.reads.Load()
					ctx, cancel := context.WithTimeout(t.Context(), length)
					defer cancel()
					ended := make(chan error, 1)
					go func() { ended <- in.other.Run(ctx) }()
					synctest.Wait()
					for busy && ctx.Err() == nil {
						require.Equal(t, http.StatusOK, status(in.other, token))
						time.Sleep(500 * time.Millisecond)
					}
					require.ErrorIs(t, <-ended, context.DeadlineExceeded)
					require.Equal(t, want, in.reads.Load()-before-1, "after the read at the start")
				})
			})
		}
	}
}

// A request wakes an idle instance: the next read comes within a second.
func TestAnIdleInstanceLearnsOfARevocationSoonAfterItsFirstRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
		token := in.signIn(in.user)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- in.other.Run(ctx) }()
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusOK, in.sendAs(token, http.MethodPost, "/auth/logout", "").status)
		time.Sleep(time.Millisecond)
		status(in.other, token) // accepted or rejected
		time.Sleep(time.Second)
		require.Equal(t, http.StatusUnauthorized, status(in.other, token))
		cancel()
		<-ended
	})
}

func TestCheckSessionsInStoreRejectsEverywhereAtOnceWithoutTheFeed(t *testing.T) {
	t.Parallel()
	in := newInstances(t, func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true })
	// With this option, no request reads the feed. So a failing feed does not matter.
	in.fail(authtest.ErrStoreAway)
	token, another := in.signIn(in.user), in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.other, token))
	require.Equal(t, http.StatusOK, in.sendAs(token, http.MethodPost, "/auth/logout", "").status)
	require.Equal(t, http.StatusUnauthorized, status(in.other, token))
	require.Equal(t, http.StatusOK, status(in.other, another))
	require.Zero(t, in.reads.Load())
}

// The revocation feed names only a limited number of sessions of a user one by one. If a user signs
// in and out many times, one entry replaces the entries for these sessions. It revokes all older
// sessions of the user, including sessions that are still in use. internal/revocation tests that
// this limits the memory.
func TestALoopOfSignInAndLogoutRevokesTheOldestSessionsAndNoNewOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	kept := f.signIn(f.user)
	require.Equal(t, http.StatusOK, status(f.svc, kept))
	for range storekit.MaxNamedRevocations + 1 {
		token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
		require.NoError(t, err)
		require.NoError(t, f.svc.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID))
		require.Equal(t, http.StatusUnauthorized, status(f.svc, token.Bearer.Reveal()))
	}
	require.Equal(t, http.StatusUnauthorized, status(f.svc, kept))
	require.Equal(t, http.StatusOK, status(f.svc, f.signIn(f.user)))
}
