package wiretest

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// slowReads is a store whose reads of a user take a second. It counts them.
type slowReads struct {
	slow           atomic.Bool
	all            atomic.Int64 // the number of reads
	reading, atMax atomic.Int64 // the number of concurrent reads, and its maximum
}

func (s *slowReads) before(method string) error {
	if method != "FindUser" || !s.slow.Load() {
		return nil
	}
	s.all.Add(1)
	s.atMax.Store(max(s.atMax.Load(), s.reading.Add(1)))
	defer s.reading.Add(-1)
	time.Sleep(time.Second)
	return nil
}

// Many verifiers have tokens of one user. Before a page is signed, the service reads the record of the user.
// The reads do not form a queue, and do not load the store with one read for each verifier.
func TestVerifiersOfOneUserDoNotQueueForItsRecord(t *testing.T) {
	t.Parallel()
	for name, signIn := range map[string]func(*fixture) string{
		"a service user": func(f *fixture) string { return f.signInService() },
		"a super user":   func(f *fixture) string { return f.signIn(f.admin) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var reads slowReads
				f := newFixture(t, signedBy("EdDSA"), withFaults(reads.before),
					func(_ *fixture, cfg *auth.Config) { cfg.Now = time.Now })
				token := signIn(f)
				f.page(token, 0)
				time.Sleep(2 * time.Minute) // after this time, no answer of the store is remembered
				f.page(token, 0)
				time.Sleep(2 * time.Minute)
				reads.slow.Store(true)
				var verifiers sync.WaitGroup
				for i := range 1000 {
					verifiers.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						began := time.Now()
						r, _ := f.askForPage(token, 0)
						require.Equal(t, http.StatusNotModified, r.status)
						require.LessOrEqual(t, time.Since(began), 2*time.Second)
					})
				}
				verifiers.Wait()
				require.LessOrEqual(t, reads.all.Load(), int64(2))
				require.EqualValues(t, 1, reads.atMax.Load())
			})
		})
	}
}

// slowAnswers is a store whose answers about a user are a second old when they arrive.
type slowAnswers struct {
	auth.Store
	slow *atomic.Bool
}

func (s slowAnswers) FindUser(ctx context.Context, id string) (auth.User, error) {
	user, err := s.Store.FindUser(ctx, id)
	if s.slow.Load() {
		time.Sleep(time.Second)
	}
	return user, err
}

// Attack: a super user is demoted while a read of the record runs that still shows the power. The power is
// read again for a request that comes after the demotion.
func TestAPageIsNotGivenByAReadFromBeforeTheDemotion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		f := newFixture(t, signedBy("EdDSA"), func(f *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			f.store = slowAnswers{f.store, &slow}
		})
		demoted, super, not := f.other(), true, false
		change := func(power *bool) {
			_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, demoted.ID,
				auth.UserChange{IsSuperUser: power})
			require.NoError(t, err)
		}
		change(&super)
		token := f.signIn(demoted)
		slow.Store(true)
		var early sync.WaitGroup
		early.Go(func() { f.askForPage(token, 0) })
		synctest.Wait()
		change(&not)
		r, _ := f.askForPage(token, 0)
		require.Equal(t, http.StatusForbidden, r.status)
		early.Wait()
	})
}
