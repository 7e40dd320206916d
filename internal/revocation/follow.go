package revocation

import (
	"context"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

// idleAfter is the time without requests after which [Feed.Follow] reads less often.
const idleAfter = 30 * time.Second

// Follow reads the feed again and again until ctx is done, and returns ctx's error. The parameter every is
// the time from one read to the next. The first read is after this time, so the caller reads the feed
// before it calls Follow. If a read fails, the next one is after the same time. The Feed reports the
// failure.
//
// If requests have looked up no session for 30 seconds, Follow reads the feed only shortly before the copy
// is an interval old: early enough that there is time for another read, in case this one fails. The next
// request ends this pause at once. Only one goroutine may call Follow.
func (f *Feed) Follow(ctx context.Context, every time.Duration) error {
	// An idle instance reads the copy again when it has this age. It is not negative, because the difference
	// from the greatest Duration would then overflow.
	idleAge := max(0, f.interval-every-every/4)
	began, lastUse := time.Now(), time.Now()
	for {
		select {
		case <-f.wake: // from a request before the latest read
		default:
		}
		if f.used.Swap(false) {
			lastUse = time.Now()
		}
		if time.Since(lastUse) > idleAfter {
			f.awaitUse(ctx, idleAge-f.Age(f.now()))
		}
		if err := clock.Sleep(ctx, every-time.Since(began)); err != nil {
			return err
		}
		began = time.Now()
		_ = f.ReadNow(ctx)
	}
}

// noteUse is called by the first request since the latest read of Follow. A call for each request would
// write memory that other processors read.
func (f *Feed) noteUse() {
	f.used.Store(true)
	select {
	case f.wake <- struct{}{}:
	default: // the channel has a value that nobody has received yet
	}
}

// awaitUse returns when a request calls noteUse, after the time d, or when ctx is done.
func (f *Feed) awaitUse(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}
