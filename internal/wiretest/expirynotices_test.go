package wiretest

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// noticesOf returns the events of expiring keys in the trail, the oldest first.
func (f *fixture) noticesOf(key string) (notices []string) {
	f.t.Helper()
	events, err := f.svc.Events(f.t.Context(), auth.EventFilter{Kind: eventkind.KeyExpiring}, 200)
	require.NoError(f.t, err)
	for i := range events {
		if e := events[len(events)-1-i]; e.AccessKey == key {
			require.Equal(f.t, f.user.ID, e.UserID)
			require.Equal(f.t, "auth.Prune", e.Host)
			notices = append(notices, e.Reason)
		}
	}
	return notices
}

// keyFor makes a key that expires after the given time.
func (f *fixture) keyFor(lifetime time.Duration) string {
	f.t.Helper()
	pair, err := f.svc.Credentials().Issue(f.t.Context(), authtest.ByHost, f.user.ID,
		auth.KeyOptions{ExpiresAt: f.clock.Now().Add(lifetime)})
	require.NoError(f.t, err)
	return pair.AccessKey
}

const day = 24 * time.Hour

func TestAKeyThatExpiresSoonHasTwoEvents(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lifetime, step time.Duration
		want           []string
	}{
		"a month": {30 * day, time.Hour,
			[]string{"in 14 days, at 2026-02-01T03:04:05Z", "in 24 hours, at 2026-02-01T03:04:05Z"}},
		"two weeks and a minute": {14*day + time.Minute, time.Minute,
			[]string{"in 14 days, at 2026-01-16T03:05:05Z", "in 24 hours, at 2026-01-16T03:05:05Z"}},
		"two weeks":   {14 * day, time.Hour, []string{"in 24 hours, at 2026-01-16T03:04:05Z"}},
		"three days":  {3 * day, time.Hour, []string{"in 24 hours, at 2026-01-05T03:04:05Z"}},
		"a day":       {day, time.Minute, nil},
		"an hour":     {time.Hour, time.Minute, nil},
		"rare rounds": {30 * day, 5 * day, []string{"in 10 days, at 2026-02-01T03:04:05Z"}},
		"an outage of all instances": {30 * day, 29*day + 23*time.Hour,
			[]string{"in 1 hour, at 2026-02-01T03:04:05Z"}},
		"a longer outage": {30 * day, 31 * day, nil},
		"the last minutes": {30 * day, 30*day - time.Minute,
			[]string{"in less than an hour, at 2026-02-01T03:04:05Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			key := f.keyFor(test.lifetime)
			for passed := time.Duration(0); passed <= test.lifetime+day; passed += test.step {
				_, err := f.svc.Prune(t.Context())
				require.NoError(t, err)
				f.clock.Advance(test.step)
			}
			require.Equal(t, test.want, f.noticesOf(key))
		})
	}
}

// Many keys expire at the same time. Several instances over one store look for them at the same time, and
// one of them has just started.
func TestOnlyOneInstanceNoticesAnExpiringKey(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = open(t) })
		others := make([]auth.User, 3)
		keys := map[string]int{}
		for i := range others {
			made, err := f.svc.Register(t.Context(), authtest.ByHost,
				auth.UserParams{Username: "user " + string(rune('a'+i))})
			require.NoError(t, err)
			others[i] = made.User
		}
		expires := f.clock.Now().Add(20 * day)
		for i := range 240 { // more than two pages
			pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, others[i%3].ID,
				auth.KeyOptions{ExpiresAt: expires})
			require.NoError(t, err)
			keys[pair.AccessKey] = 1
		}
		f.clock.Advance(7 * day)
		services := []*auth.Service{f.svc}
		for range 2 {
			services = append(services, f.another(t))
		}
		errs := make([]error, len(services))
		var running sync.WaitGroup
		for i, svc := range services {
			running.Go(func() { _, errs[i] = svc.Prune(t.Context()) })
		}
		running.Wait()
		require.NoError(t, errors.Join(errs...))
		_, err := f.another(t).Prune(t.Context()) // after a restart
		require.NoError(t, err)

		got := map[string]int{}
		for before := ""; ; {
			filter := auth.EventFilter{Kind: eventkind.KeyExpiring, Before: before}
			page, err := f.svc.Events(t.Context(), filter, 100)
			require.NoError(t, err)
			for _, e := range page {
				got[e.AccessKey]++
			}
			if len(page) < 100 {
				break
			}
			before = page[len(page)-1].ID
		}
		require.Equal(t, keys, got)
	})
}

func TestAllExpiringKeysAreNoticedInOneRound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 6 {
		made, err := f.svc.Register(t.Context(), authtest.ByHost,
			auth.UserParams{Username: "user " + string(rune('a'+i))})
		require.NoError(t, err)
		for range 50 {
			_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, made.User.ID,
				auth.KeyOptions{ExpiresAt: f.clock.Now().Add(15 * day)})
			require.NoError(t, err)
		}
	}
	f.clock.Advance(2 * day)
	f.log.Reset()
	_, err := f.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, 300, strings.Count(f.log.String(), "auth: key.expiring"))
}

// another returns a second instance over the store of the fixture.
func (f *fixture) another(t testing.TB) *auth.Service {
	t.Helper()
	svc, err := auth.New(f.store, auth.Config{
		Issuer: issuer, Now: f.clock.Now, SigningKeys: []auth.SigningKey{f.signer.Key}, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	require.NoError(t, err)
	return svc
}

// The store fails while the events are made. The next round makes the missing ones, and no event twice.
func TestTheNoticeOfAnExpiringKeyIsTriedAgain(t *testing.T) {
	t.Parallel()
	down := errors.New("the store is down")
	for method, succeeding := range map[string]int{
		"ListExpiringKeys": 1, "RecordExpiryNotice": 1, "PruneSessions": 0,
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			failing, calls := false, 0
			f := newFixture(t, withFaults(func(called string) error {
				if called != method {
					return nil
				}
				if calls++; failing && calls > succeeding {
					return down
				}
				return nil
			}))
			first, second := f.keyFor(20*day), f.keyFor(20*day)
			failing, calls = true, 0
			f.clock.Advance(7 * day)
			_, err := f.svc.Prune(t.Context())
			require.ErrorIs(t, err, down)
			if method == "PruneSessions" {
				require.Len(t, f.noticesOf(first), 1, "the events do not depend on the pruning")
			}
			failing = false
			for range 2 {
				_, err = f.svc.Prune(t.Context())
				require.NoError(t, err)
			}
			for _, key := range []string{first, second} {
				require.Equal(t, []string{"in 13 days, at 2026-01-22T03:04:05Z"}, f.noticesOf(key))
			}
		})
	}
}

// A key is revoked after its expiry was found. The other keys still have their events.
func TestARevokedKeyStopsNoNoticeOfAnotherKey(t *testing.T) {
	t.Parallel()
	var f *fixture
	var first string
	f = newFixture(t, withFaults(func(method string) error {
		if method == "RecordExpiryNotice" && first != "" {
			revoked := first
			first = ""
			return f.svc.Credentials().Revoke(t.Context(), authtest.ByHost, revoked)
		}
		return nil
	}))
	first = f.keyFor(15 * day) // the first to expire, so the first to be recorded
	revoked, other := first, f.keyFor(15*day+time.Hour)
	f.clock.Advance(2 * day)
	for range 2 {
		_, err := f.svc.Prune(t.Context())
		require.NoError(t, err)
	}
	require.Empty(t, f.noticesOf(revoked))
	require.Len(t, f.noticesOf(other), 1)
}

// Another instance has recorded the notices of a whole page of keys. This instance leaves the next page to
// the other one.
func TestAnInstanceLeavesThePagesOfAnotherToIt(t *testing.T) {
	t.Parallel()
	down, busy, listed := errors.New("listed too often"), false, 0
	f := newFixture(t, withFaults(func(method string) error {
		switch {
		case busy && method == "RecordExpiryNotice":
			return auth.ErrChanged
		case busy && method == "ListExpiringKeys":
			if listed++; listed > 10 {
				return down
			}
		}
		return nil
	}))
	for _, user := range f.registerNumbered(3) {
		for range 50 {
			_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID,
				auth.KeyOptions{ExpiresAt: f.clock.Now().Add(15 * day)})
			require.NoError(t, err)
		}
	}
	f.clock.Advance(2 * day)
	busy = true
	_, err := f.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, listed, "one page for each time before the expiry")
}

// The events of a store without an audit trail go to OnEvent and to the log, once each.
func TestAnExpiringKeyIsNoticedWithoutATrail(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, cfg *auth.Config) {
		f.store, cfg.DisableAuditTrail = memstore.New(), true
	})
	key := f.keyFor(20 * day)
	f.clock.Advance(7 * day)
	for range 3 {
		_, err := f.svc.Prune(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(f.log.String(), "auth: key.expiring"))
	require.Contains(t, f.log.String(), key)
}

func TestAnExpiringImportedKeyIsNotNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scopesOn(memstore.New()))
	err := f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		AccessKey: "alices-old-key", UserID: f.user.ID, Secret: auth.NewSecret("correct horse battery staple"),
		CreatedAt: f.clock.Now().Add(-day), KeyOptions: auth.KeyOptions{ExpiresAt: f.clock.Now().Add(2 * day)},
	})
	require.NoError(t, err)
	f.clock.Advance(36 * time.Hour)
	_, err = f.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"in 12 hours, at 2026-01-04T03:04:05Z"}, f.noticesOf("imported"))
}
