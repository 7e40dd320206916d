package throttle

import (
	"context"
	"errors"
	"math"
	"time"
)

// spareLifetime is how long a spare attempt can be used.
const spareLifetime = time.Minute

// spareAttempts is the number of attempts that were counted in a bucket and did not fail. A limiter
// cannot take back a count. Instead, for each spare attempt, one later attempt is allowed without
// being counted.
type spareAttempts struct {
	count int
	until time.Time
}

// pendingGitHub counts the sign-ins with GitHub that have begun in a bucket and not ended. The
// field counted is the number of sign-ins within the limit. The field extra is the number of
// sign-ins beyond the limit.
type pendingGitHub struct{ counted, extra int }

// GitHubAttempt is a sign-in with GitHub that a [Throttle] has allowed. When the sign-in has ended,
// the caller must call [GitHubAttempt.End] exactly once.
type GitHubAttempt struct {
	throttle *Throttle
	bucket   bucket
	extra    bool          // whether the sign-in goes beyond the limit
	wait     time.Duration // the wait that the limiter returned, if extra
}

// BeginGitHub counts a sign-in with GitHub, before the caller calls GitHub. If too many sign-ins
// from the client's address have failed, BeginGitHub rejects the sign-in. If the sign-in is
// rejected, or if t is nil, the returned attempt is nil.
//
// Many people who share one address may sign in at the same time, and most sign-ins do not fail.
// Therefore BeginGitHub allows extra sign-ins beyond the limit: two for each counted sign-in that
// has not ended. After the first extra sign-in has failed, BeginGitHub rejects all sign-ins from
// this address for at most maxBar.
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

// End ends the sign-in. The argument failed says whether the sign-in failed because of the client.
// If the sign-in is within the limit and did not fail, one later sign-in in the same bucket is not
// counted. If a is nil, End does nothing.
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
// smallest Count of its rates. The caller must hold t.mu.
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

// useSpare uses up a spare attempt of the bucket, and reports whether there was one.
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
