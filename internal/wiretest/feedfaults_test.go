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
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

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
				_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
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

// delayedStore delays one read of the revocation feed until the channel answer is closed. The read
// returns the entries that the feed had when the read began.
type delayedStore struct {
	auth.Store
	late   atomic.Bool
	answer chan struct{}
}

func (s *delayedStore) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	page, err := s.Store.ListRevocations(ctx, from, limit)
	if s.late.CompareAndSwap(true, false) {
		<-s.answer
	}
	return page, err
}

func TestAReadBegunBeforeARevocationDoesNotCountForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &delayedStore{answer: make(chan struct{})}
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
		// RevokeUser cannot read the feed, because another read is in progress.
		_, err := f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID)
		require.NoError(t, err)
		close(store.answer)
		<-reading // the request began before the revocation, so it may be accepted or rejected
		require.Equal(t, http.StatusUnauthorized, status(f.svc, token))
	})
}

func TestANewInstanceReadsAMillionRevocationsBeforeItAcceptsAToken(t *testing.T) {
	t.Parallel()
	many := &manyRevocations{
		Store: memstore.New(), n: 1_000_000, expires: authtest.NewClock().Now().Add(time.Hour),
	}
	f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = many })
	token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	many.last = token
	many.fail.Store(true) // the first read of the feed fails halfway
	require.Equal(t, http.StatusServiceUnavailable, status(f.svc, token.Bearer.Reveal()))
	many.fail.Store(false)
	for { // each request reads the feed for at most a second
		if got := status(f.svc, token.Bearer.Reveal()); got != http.StatusServiceUnavailable {
			require.Equal(t, http.StatusUnauthorized, got)
			break
		}
	}
	require.LessOrEqual(t, many.again.Load(), int64(1),
		"the pages read before the failure are not read again")
}

// manyRevocations is a store whose revocation feed has n entries. The last entry revokes the
// session of the token in the field last.
type manyRevocations struct {
	auth.Store
	n       int64
	expires time.Time
	last    auth.Token
	fail    atomic.Bool
	begun   atomic.Bool
	again   atomic.Int64 // number of times the feed is read from the beginning
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
