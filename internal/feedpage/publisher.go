package feedpage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/revocation"
)

const (
	// maxAge is the maximum age of the feed's end in a page. If it is older, a request for a page reads
	// the store.
	maxAge = 500 * time.Millisecond

	// maxReads is the maximum number of concurrent reads of entries that are no longer in memory. Only
	// verifiers that have just started need such entries.
	maxReads = 4
)

// Publisher makes the pages of an instance of the issuer. Pages with new entries come from memory. It is
// safe for concurrent use.
type Publisher struct {
	issuer string
	feed   *revocation.Feed
	list   func(ctx context.Context, from int64, limit int) ([]revocation.Entry, error)
	now    func() time.Time
	reads  chan struct{} // a semaphore of maxReads slots
}

// NewPublisher returns a Publisher of the feed. The function list reads entries from the store, as
// [revocation.Source] describes it.
func NewPublisher(
	issuer string, feed *revocation.Feed,
	list func(ctx context.Context, from int64, limit int) ([]revocation.Entry, error),
	now func() time.Time,
) *Publisher {
	return &Publisher{issuer: issuer, feed: feed, list: list, now: now, reads: make(chan struct{}, maxReads)}
}

// errOtherFeed means that the store and the end of the feed that was read from it do not fit together.
// The next read of the feed finds out why.
var errOtherFeed = errors.New("the revocation feed has changed while it was read")

// Page returns the page from the Position on, with the nonce. An error means that the feed could not be
// read.
//
// The entries of the page end at the Head that this instance knows, which is at most half a second old
// while the store answers. If Head is below from, the feed ended before from after Page was called.
func (p *Publisher) Page(ctx context.Context, from int64, nonce string) (Page, error) {
	tail, err := p.feed.Tail(ctx, maxAge, from)
	if err != nil {
		return Page{}, err
	}
	first, _ := slices.BinarySearchFunc(tail.Entries, from, func(e revocation.Entry, position int64) int {
		return cmp.Compare(e.Position, position)
	})
	entries := tail.Entries[first:]
	if len(tail.Entries) > 0 && from < tail.Entries[0].Position {
		if entries, err = p.read(ctx, from, tail.Head); err != nil {
			return Page{}, err
		}
	}
	now := p.now()
	page := Page{Issuer: p.issuer, Nonce: nonce, From: from, End: tail.Head, Head: tail.Head, SignedAt: now,
		AsOf: now.Add(-clock.Age(now, tail.AsOf)), Entries: make([]revocation.Entry, len(entries))}
	for i, e := range entries {
		e.UserID, e.SessionID = Hash(p.issuer, e.UserID, e.SessionID)
		page.Entries[i], page.End = e, e.Position
	}
	return page, nil
}

// read reads the entries from the Position on from the store, up to the Position head.
func (p *Publisher) read(ctx context.Context, from, head int64) ([]revocation.Entry, error) {
	select {
	case p.reads <- struct{}{}:
		defer func() { <-p.reads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	entries, err := p.list(ctx, from, MaxEntries)
	if err != nil {
		return nil, err
	}
	complete := len(entries) < MaxEntries
	for len(entries) > 0 && entries[len(entries)-1].Position > head {
		entries, complete = entries[:len(entries)-1], true
	}
	if complete && (len(entries) == 0 || entries[len(entries)-1].Position != head) {
		return nil, errOtherFeed
	}
	return entries, nil
}
