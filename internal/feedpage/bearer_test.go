package feedpage_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// lasting is a TokenSource whose tokens live for the given time.
type lasting struct {
	clock    *authtest.Clock
	lifetime time.Duration
	calls    atomic.Int64
	answered chan struct{} // receives once for each call
	err      atomic.Pointer[error]
}

func (l *lasting) Token() (*oauth2.Token, error) {
	l.calls.Add(1)
	defer func() { l.answered <- struct{}{} }()
	if err := l.err.Load(); err != nil {
		return nil, *err
	}
	return &oauth2.Token{AccessToken: "access", Expiry: l.clock.Now().Add(l.lifetime)}, nil
}

func newLasting(t *testing.T, lifetime time.Duration) (*issuing, *lasting) {
	t.Helper()
	source := &lasting{lifetime: lifetime, answered: make(chan struct{}, 1000)}
	i := newIssuing(t, func(i *issuing, cfg *feedpage.FollowerConfig) {
		source.clock, cfg.Tokens = i.clock, source
	})
	i.page = func(int64) feedpage.Page { return feedpage.Page{} }
	return i, source
}

func (i *issuing) read(t *testing.T) {
	t.Helper()
	_, err := i.Read(t.Context(), 0, 100)
	require.NoError(t, err)
}

// The issuer may be away for a while, so the next access token is fetched early. No read waits for it.
func TestAnAccessTokenIsReplacedAMinuteBeforeItExpires(t *testing.T) {
	t.Parallel()
	for lifetime, early := range map[time.Duration]time.Duration{
		12 * time.Hour: time.Minute, 5 * time.Minute: time.Minute, 100 * time.Second: 20 * time.Second,
		5 * time.Second: time.Second,
	} {
		i, source := newLasting(t, lifetime)
		i.read(t)
		<-source.answered
		i.clock.Advance(lifetime - early - time.Millisecond)
		i.read(t)
		require.EqualValues(t, 1, source.calls.Load(), lifetime)
		i.clock.Advance(time.Millisecond)
		i.read(t)
		<-source.answered
		require.EqualValues(t, 2, source.calls.Load(), lifetime)
	}
}

// Tokens that expire soon, at once, or before they arrive do not become a sign-in for each read.
func TestShortAccessTokensAreNotFetchedForEachRead(t *testing.T) {
	t.Parallel()
	for lifetime, most := range map[time.Duration]int64{
		-time.Hour: 7, 0: 7, time.Millisecond: 61, 2 * time.Second: 39, 10 * time.Second: 9,
	} {
		i, source := newLasting(t, lifetime)
		for range 600 {
			i.read(t)
			i.clock.Advance(100 * time.Millisecond)
		}
		require.LessOrEqual(t, source.calls.Load(), most, lifetime)
		require.Greater(t, source.calls.Load(), int64(1), lifetime)
	}
}

// A TokenSource that fails is no reason to stop before the access token has expired.
func TestAnAccessTokenIsUsedUntilItExpiresIfTheSourceFails(t *testing.T) {
	t.Parallel()
	i, source := newLasting(t, time.Hour)
	i.read(t)
	<-source.answered
	away := errors.New("away")
	source.err.Store(&away)
	i.clock.Advance(59 * time.Minute)
	i.read(t)
	<-source.answered
	for range 59 {
		i.read(t)
		i.clock.Advance(time.Second)
	}
	require.LessOrEqual(t, source.calls.Load(), int64(8), "a failed call is repeated after ten seconds")
	i.clock.Advance(time.Second)
	var err error
	for range 2 { // the first read can get the result of a call from before
		_, err = i.Read(t.Context(), 0, 100)
		i.clock.Advance(time.Second)
	}
	require.ErrorContains(t, err, "get an access token: away")
	source.err.Store(nil)
	i.read(t)
}

// numbered is a TokenSource whose tokens have numbers. By the clock of the issuer, each lives for an hour.
type numbered struct {
	clock *authtest.Clock // of the service

	mu     sync.Mutex
	issuer time.Duration // the time of the issuer
	issued []time.Duration
}

// pass lets time pass for the issuer.
func (n *numbered) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.issuer += d
}

func (n *numbered) Token() (*oauth2.Token, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.issued = append(n.issued, n.issuer)
	token := "access" + strconv.Itoa(len(n.issued)-1)
	return &oauth2.Token{AccessToken: token, Expiry: n.clock.Now().Add(time.Hour)}, nil
}

func (n *numbered) hasExpired(token string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, err := strconv.Atoi(token)
	return err != nil || n.issuer >= n.issued[number]+time.Hour
}

func newNumbered(t *testing.T) (*issuing, *numbered) {
	t.Helper()
	source := &numbered{}
	i := newIssuing(t, func(i *issuing, cfg *feedpage.FollowerConfig) {
		source.clock, cfg.Tokens = i.clock, source
	})
	i.page = func(int64) feedpage.Page { return feedpage.Page{} }
	i.refuses = source.hasExpired
	return i, source
}

// The clock of the service jumps, so it knows too late or too early that an access token expires.
func TestAnAccessTokenIsReplacedInTimeAlthoughTheClockJumps(t *testing.T) {
	t.Parallel()
	const hour, year = time.Hour, 365 * 24 * time.Hour
	for _, jump := range []time.Duration{time.Minute, 59 * time.Minute, hour, 5 * hour, year} {
		i, source := newNumbered(t)
		for minute := range 24 * 60 {
			i.read(t)
			step := time.Minute
			switch minute % 90 {
			case 10, 70:
				step += jump
			case 30, 75:
				step -= jump
			}
			i.clock.Advance(step)
			source.pass(time.Minute)
		}
		source.mu.Lock()
		require.LessOrEqual(t, len(source.issued), 100, "sign-ins in a day, with 64 jumps")
		source.mu.Unlock()
	}
}

// The page must answer the repeated request, not the one that the issuer has rejected.
func TestARepeatedRequestHasANonceOfItsOwn(t *testing.T) {
	t.Parallel()
	i, source := newNumbered(t)
	i.read(t)
	source.pass(time.Hour)
	i.read(t)
	require.Len(t, i.nonces, 3)
	require.NotEqual(t, i.nonces[1], i.nonces[2])
}
