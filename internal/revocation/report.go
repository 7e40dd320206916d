package revocation

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth/internal/outage"
)

// Status says what a [Report] is about.
type Status int

// The statuses. Each pair marks the beginning and the end of an outage.
const (
	ReadFailing Status = iota // the feed cannot be read, but the latest complete read is recent enough
	ReadAgain
	Unusable // no session is accepted, because the latest complete read is too old
	UsableAgain
)

// Report says that the state of a [Feed] has changed. While an outage lasts, the Feed repeats the report
// at most once in each [outage.Interval].
type Report struct {
	Status Status
	outage.Report
	Left time.Duration // with ReadFailing: how much longer the Feed can be used
	Err  error         // the latest failure; nil at the end of an outage
}

// operation is the only operation of the trackers of a Feed.
const operation = "read"

// observeRead reports the result of a read of the feed.
func (f *Feed) observeRead(err error) {
	if err != nil {
		f.observeFailure(err, 0)
		return
	}
	ended, readAgain := f.reads.Succeed(operation)
	if f.readAt.Load() != nil {
		if refused, usable := f.refusals.Succeed(operation); usable {
			f.report(Report{Status: UsableAgain, Report: refused})
			return // UsableAgain implies ReadAgain
		}
	}
	if readAgain {
		f.report(Report{Status: ReadAgain, Report: ended})
	}
}

// observeRefusal reports that a session was not accepted because of err.
func (f *Feed) observeRefusal(err error) {
	if !errors.Is(err, context.Canceled) { // a client that has gone away says nothing about the feed
		f.observeFailure(err, 1)
	}
}

// observeFailure reports a failed read, or a number of requests that were refused because of it.
func (f *Feed) observeFailure(err error, refused int64) {
	left := f.maxStaleness - f.Age(f.now())
	if left <= 0 {
		if r, due := f.refusals.Fail(operation, refused); due {
			f.report(Report{Status: Unusable, Report: r, Err: err})
		}
		return
	}
	if r, due := f.reads.Fail(operation, 1); due {
		f.report(Report{Status: ReadFailing, Report: r, Left: left, Err: err})
	}
}

func (f *Feed) report(r Report) {
	if f.source.Report != nil {
		f.source.Report(r)
	}
}
