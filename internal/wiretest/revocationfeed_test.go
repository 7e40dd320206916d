package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
)

// instances is a fixture with two instances of a service over one store.
type instances struct {
	*fixture
	other *auth.Service
	fault atomic.Pointer[error] // the error of reads of the feed, if any
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

// status returns the HTTP status of a request with the token to a route behind Authenticate.
func status(svc *auth.Service, token string) int {
	return send(svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
		http.MethodGet, "/", "", "Authorization", "Bearer "+token).status
}

// revocations are the ways to revoke a user's token.
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
		_, err := in.svc.RevokeUser(context.Background(), authtest.ByHost, in.user.ID)
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
	token, err := in.svc.Login(t.Context(), in.userPair)
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
	_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
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

func TestTokensAreAcceptedUntilMaxStalenessWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{authtest.ErrStoreAway, authtest.ErrHang} {
		t.Run(fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
				token := in.signIn(in.user)
				require.Equal(t, http.StatusOK, status(in.other, token))
				readAt := time.Now()
				in.fail(fault)
				_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
				require.NoError(t, err)
				for time.Since(readAt) < time.Minute-2*time.Second {
					began := time.Now()
					require.Equal(t, http.StatusOK, status(in.other, token))
					require.LessOrEqual(t, time.Since(began), time.Second,
						"a request waits for at most a second")
					time.Sleep(700 * time.Millisecond)
				}
				time.Sleep(time.Minute - time.Since(readAt))
				require.Equal(t, http.StatusServiceUnavailable, status(in.other, token))
				in.fail(nil)
				require.Equal(t, http.StatusUnauthorized, status(in.other, token))
			})
		})
	}
}

func TestNoTokenIsAcceptedUntilARevocationCanBeReadBack(t *testing.T) {
	t.Parallel()
	for name, revoke := range revocations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
				token, admin := in.loginToken(t), in.signIn(in.admin)
				require.Equal(t, http.StatusOK, status(in.svc, token))
				in.fail(authtest.ErrStoreAway)
				require.NoError(t, revoke(in, token))
				require.Equal(t, http.StatusServiceUnavailable, status(in.svc, token))
				require.Equal(t, http.StatusServiceUnavailable, status(in.svc, admin),
					"the instance does not know whose session was revoked")
				in.fail(nil)
				require.Equal(t, http.StatusUnauthorized, status(in.svc, token))
				require.Equal(t, http.StatusOK, status(in.svc, admin))
			})
		})
	}
}

func TestOneRequestReadsTheFeedForAllEvenIfItIsCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newInstances(t, func(c *auth.Config) { c.Now = time.Now })
		token := in.signIn(in.user)
		slow := make(chan struct{})
		store := authtest.FaultyStore(in.store, func(method string) error {
			if method == "ListRevocations" {
				<-slow
			}
			return nil
		})
		svc, err := auth.New(store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{in.signer.Key},
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := svc.Tokens().Verify(ctx, token)
			first <- err
		}()
		synctest.Wait()
		cancel()
		others := make(chan int)
		for range 20 {
			go func() { others <- status(svc, token) }()
		}
		synctest.Wait()
		close(slow)
		require.NoError(t, <-first, "the canceled request was reading the feed and may use the result")
		for range 20 {
			require.Equal(t, http.StatusOK, <-others)
		}
		require.EqualValues(t, 1, in.reads.Load())
	})
}

func TestAClockThatIsOffByAnHourRestoresNoRevokedToken(t *testing.T) {
	t.Parallel()
	// A clock that is set back by more than 30 seconds rejects older tokens for their issue time
	// alone.
	for _, off := range []time.Duration{time.Hour, -20 * time.Second, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			in := newInstances(t)
			token := in.signIn(in.user)
			require.Equal(t, http.StatusOK, status(in.other, token))
			_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
			require.NoError(t, err)
			in.clock.Advance(off)
			require.Equal(t, http.StatusUnauthorized, status(in.svc, token))
			require.Equal(t, http.StatusUnauthorized, status(in.other, token),
				"the instance cannot tell the age of its last read")
		})
	}
	t.Run("another instance prunes an hour too early", func(t *testing.T) {
		t.Parallel()
		in := newInstances(t)
		token := in.signIn(in.user)
		_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
		require.NoError(t, err)
		for range auth.KeptRevocations { // the last KeptRevocations entries are never pruned
			session, err := in.svc.SignIn(t.Context(), in.admin.ID)
			require.NoError(t, err)
			require.NoError(t, in.store.RevokeSession(t.Context(), authtest.HostWrite, session.Session.ID))
		}
		in.clock.Advance(12*time.Hour - time.Minute)
		early := authtest.NewClock()
		early.Advance(13 * time.Hour)
		hasty, err := auth.New(in.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{in.signer.Key}, Now: early.Now,
		})
		require.NoError(t, err)
		_, err = hasty.Prune(t.Context())
		require.NoError(t, err)
		cold, err := auth.New(in.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{in.signer.Key}, Now: in.clock.Now,
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status(cold, token))

		early.Advance(3 * time.Hour)
		removed, err := hasty.Prune(t.Context())
		require.NoError(t, err)
		require.Positive(t, removed, "the entry is pruned in the end")
	})
}

// swapped is a store that a test can replace by another one, as a restore does.
type swapped struct{ auth.Store }

func TestARestoredStoreRevokesEverybodyOnce(t *testing.T) {
	t.Parallel()
	// The two stores share one session. Their feeds differ after it, and the restored feed is
	// shorter, as long or longer.
	for _, later := range []int{0, 1, 2, 3, 50} {
		t.Run(fmt.Sprint(later), func(t *testing.T) {
			t.Parallel()
			store := &swapped{memstore.New()}
			f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
			lost := f.signIn(f.user)
			require.Equal(t, http.StatusOK, status(f.svc, lost))
			for range 3 {
				_, err := f.svc.RevokeUser(t.Context(), authtest.ByHost, f.user.ID)
				require.NoError(t, err)
				f.signIn(f.user)
			}

			restored := memstore.New()
			old := store.Store
			store.Store = restored
			for _, id := range []string{f.user.ID, f.admin.ID} {
				user, err := old.FindUser(t.Context(), id)
				require.NoError(t, err)
				require.NoError(t, restored.Register(t.Context(), authtest.HostWrite, user, auth.AccessKey{
					ID: "key of " + id, UserID: id, Hash: "hash", CreatedAt: f.clock.Now(),
				}))
			}
			other, err := auth.New(store, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
			})
			require.NoError(t, err)
			var revoked []string
			for range later {
				token, err := other.SignIn(t.Context(), f.admin.ID)
				require.NoError(t, err)
				require.NoError(t, other.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID))
				revoked = append(revoked, token.Bearer.Reveal())
			}
			fresh, err := other.SignIn(t.Context(), f.user.ID)
			require.NoError(t, err)

			f.clock.Advance(5 * time.Second)
			store.Store = authtest.FaultyStore(restored, failSecond())
			require.Equal(t, http.StatusServiceUnavailable, status(f.svc, fresh.Bearer.Reveal()),
				"no token is accepted before the restored feed was read")
			store.Store = restored
			require.Equal(t, http.StatusUnauthorized, status(f.svc, fresh.Bearer.Reveal()),
				"revocations may be lost, so everybody is revoked")
			require.Contains(t, f.log.String(), "the store has lost commits")
			for _, token := range append(revoked, lost) {
				require.Equal(t, http.StatusUnauthorized, status(f.svc, token))
			}
			f.log.Reset()
			again, err := other.SignIn(t.Context(), f.user.ID)
			require.NoError(t, err)
			for range 3 {
				require.Equal(t, http.StatusOK, status(f.svc, again.Bearer.Reveal()))
				require.Equal(t, http.StatusOK, status(other, again.Bearer.Reveal()))
				f.clock.Advance(5 * time.Second)
			}
			require.NotContains(t, f.log.String(), "the store has lost commits",
				"everybody is revoked only once")
		})
	}
}

// failSecond returns a fault that allows one read of the feed, which detects the restored store,
// and fails all later ones.
func failSecond() func(string) error {
	var reads atomic.Int64
	return func(method string) error {
		if method == "ListRevocations" && reads.Add(1) > 1 {
			return authtest.ErrStoreAway
		}
		return nil
	}
}

func TestAFailedReadOfTheFeedIsRetriedAfterASecond(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.svc, token))
	in.fail(authtest.ErrStoreAway)
	in.clock.Advance(5 * time.Second)
	for second := range 3 {
		for range 10 {
			require.Equal(t, http.StatusOK, status(in.svc, token))
		}
		require.EqualValues(t, second+2, in.reads.Load())
		in.clock.Advance(time.Second)
	}
}

// lateStore delays one read of the feed until answer is closed. The read returns what the feed
// contained when the read began.
type lateStore struct {
	auth.Store
	late   atomic.Bool
	answer chan struct{}
}

func (s *lateStore) ListRevocations(ctx context.Context, from int64, limit int) ([]auth.Revocation, error) {
	page, err := s.Store.ListRevocations(ctx, from, limit)
	if s.late.CompareAndSwap(true, false) {
		<-s.answer
	}
	return page, err
}

func TestAReadBegunBeforeARevocationDoesNotCountForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &lateStore{answer: make(chan struct{})}
		f := newFixture(t, func(f *fixture, c *auth.Config) {
			store.Store, f.store, c.Now = f.store, store, time.Now
		})
		token := f.signIn(f.user)
		require.Equal(t, http.StatusOK, status(f.svc, token))
		time.Sleep(5 * time.Second)
		store.late.Store(true)
		reading := make(chan int)
		go func() { reading <- status(f.svc, token) }()
		synctest.Wait()
		// the call cannot read the feed back in time
		_, err := f.svc.RevokeUser(t.Context(), authtest.ByHost, f.user.ID)
		require.NoError(t, err)
		close(store.answer)
		<-reading // this request began before the revocation returned, so it may be accepted or rejected
		require.Equal(t, http.StatusUnauthorized, status(f.svc, token))
	})
}

func TestANewInstanceReadsAMillionRevocationsBeforeItAcceptsAToken(t *testing.T) {
	t.Parallel()
	many := &manyRevocations{
		Store: memstore.New(), n: 1_000_000, expires: authtest.NewClock().Now().Add(time.Hour),
	}
	f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = many })
	token, err := f.svc.SignIn(t.Context(), f.user.ID)
	require.NoError(t, err)
	many.last = token
	many.fail.Store(true) // the first read fails halfway
	require.Equal(t, http.StatusServiceUnavailable, status(f.svc, token.Bearer.Reveal()))
	many.fail.Store(false)
	for { // each request reads for at most a second
		if got := status(f.svc, token.Bearer.Reveal()); got != http.StatusServiceUnavailable {
			require.Equal(t, http.StatusUnauthorized, got)
			break
		}
	}
	require.LessOrEqual(t, many.again.Load(), int64(1),
		"the pages read before the failure are not read again")
}

// manyRevocations is a store with a feed of n entries. The last entry revokes the session of the
// token last.
type manyRevocations struct {
	auth.Store
	n       int64
	expires time.Time
	last    auth.Token
	fail    atomic.Bool
	begun   atomic.Bool
	again   atomic.Int64 // number of reads from the beginning
}

func (m *manyRevocations) ListRevocations(
	_ context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	if from == 0 && !m.begun.Swap(true) {
		m.again.Add(1)
	}
	if m.fail.Load() && from > m.n/2 {
		return nil, authtest.ErrStoreAway
	}
	var page []auth.Revocation
	for i := max(from, 1); i <= m.n && len(page) < limit; i++ {
		entry := auth.Revocation{Position: i, ID: fmt.Sprint("id", i), UserID: fmt.Sprint("user", i),
			SessionID: fmt.Sprint("session", i), ExpiresAt: m.expires}
		if i == m.n {
			entry.UserID, entry.SessionID = m.last.User.ID, m.last.Session.ID
		}
		page = append(page, entry)
	}
	return page, nil
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
		_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
		require.NoError(t, err)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, http.StatusUnauthorized, status(in.other, token))

		in.fail(authtest.ErrStoreAway)
		time.Sleep(time.Minute)
		in.fail(nil)
		time.Sleep(3 * time.Second)
		cancel()
		require.ErrorIs(t, <-running, context.Canceled)
		require.Contains(t, in.log.String(), "the revocation feed cannot be read")
		require.Contains(t, in.log.String(), "the revocation feed can be read again")
	})
}

func TestCheckSessionsInStoreRejectsEverywhereAtOnceWithoutTheFeed(t *testing.T) {
	t.Parallel()
	in := newInstances(t, func(c *auth.Config) { c.Tokens.CheckSessionsInStore = true })
	// The feed is not read, so its failure does not matter.
	in.fail(authtest.ErrStoreAway)
	token, another := in.signIn(in.user), in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.other, token))
	require.Equal(t, http.StatusOK, in.sendAs(token, http.MethodPost, "/auth/logout", "").status)
	require.Equal(t, http.StatusUnauthorized, status(in.other, token))
	require.Equal(t, http.StatusOK, status(in.other, another))
	require.Zero(t, in.reads.Load())
}
