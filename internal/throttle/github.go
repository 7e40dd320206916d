package throttle

import (
	"context"
	"errors"
	"math"
	"time"
)

// spareLifetime is how long a spare attempt can be used.
const spareLifetime = time.Minute

// spareAttempts are attempts that a bucket has counted and that have not failed. A limiter cannot
// take back what it has counted. In place of that, later attempts are not counted.
type spareAttempts struct {
	count int
	until time.Time
}

// pendingGitHub contains the numbers of sign-ins with GitHub of one bucket that have not ended:
// counted sign-ins, and extra sign-ins beyond the limit.
type pendingGitHub struct{ counted, extra int }

// GitHubAttempt is a sign-in with GitHub that a [Throttle] has allowed. [GitHubAttempt.End] must be
// called once.
type GitHubAttempt struct {
	throttle *Throttle
	bucket   bucket
	extra    bool          // it goes beyond the limit
	wait     time.Duration // of the limiter's answer, if extra
}

// BeginGitHub counts a sign-in with GitHub that may fail, before GitHub is asked, and rejects the
// sign-in if too many have failed. The returned attempt is nil if the sign-in is rejected, or if t
// is nil.
//
// Many people who share one address may sign in at the same time. Therefore, while counted sign-ins
// have not ended, BeginGitHub allows extra sign-ins beyond the limit, up to twice the number of
// those counted sign-ins. Most sign-ins do not fail. The first extra sign-in that fails bars the
// bucket.
func (t *Throttle) BeginGitHub(ctx context.Context, client Client) (*GitHubAttempt, error) {
	if t == nil {
		return nil, nil
	}
	attempt := &GitHubAttempt{throttle: t, bucket: t.failures(kindGitHub, client)}
	if err := t.checkBar(attempt.bucket); err != nil {
		return nil, err
	}
	var err error
	if !t.useSpare(attempt.bucket) {
		err = t.take(ctx, attempt.bucket)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pending := t.github[attempt.bucket.name]
	exceeded, ok := errors.AsType[*ExceededError](err)
	switch {
	case !ok && pending == nil:
		t.github[attempt.bucket.name] = &pendingGitHub{counted: 1}
	case !ok:
		pending.counted++
	case pending == nil || pending.extra >= 2*pending.counted:
		return nil, err
	default:
		attempt.extra, attempt.wait = true, exceeded.RetryAfter
		pending.extra++
	}
	return attempt, nil
}

// End ends the sign-in. If the sign-in has not failed, or has not failed because of the client, a
// later sign-in of the same bucket is not counted. A nil *GitHubAttempt does nothing.
func (a *GitHubAttempt) End(failed bool) {
	if a == nil {
		return
	}
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	pending := t.github[a.bucket.name]
	if a.extra {
		pending.extra--
	} else {
		pending.counted--
	}
	if *pending == (pendingGitHub{}) {
		delete(t.github, a.bucket.name)
	}
	switch {
	case failed && a.extra:
		t.bar(a.bucket, a.wait)
	case !failed && !a.extra:
		t.addSpare(a.bucket)
	}
}

// addSpare adds a spare attempt to the bucket. A bucket has at most as many spare attempts as the
// smallest Count of its rates. t.mu must be held.
func (t *Throttle) addSpare(b bucket) {
	most := math.MaxInt
	for _, rate := range b.rates {
		most = min(most, rate.Count)
	}
	now := t.now()
	spare, _ := t.spare.Get(b.name)
	if !now.Before(spare.until) {
		spare.count = 0
	}
	t.spare.Add(b.name, spareAttempts{min(spare.count+1, most), now.Add(spareLifetime)})
}

// useSpare takes a spare attempt of the bucket, if there is one.
func (t *Throttle) useSpare(b bucket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	spare, _ := t.spare.Get(b.name)
	switch {
	case !t.now().Before(spare.until):
		t.spare.Remove(b.name)
		return false
	case spare.count <= 1:
		t.spare.Remove(b.name)
	default:
		t.spare.Add(b.name, spareAttempts{spare.count - 1, spare.until})
	}
	return true
}
