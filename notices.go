package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/eventkind"
)

// expiryLeads are the times before the expiry of an access key at which there is an event. If no instance ran
// for some time, the first event of a key can come so late that it counts for both.
var expiryLeads = []time.Duration{24 * time.Hour, 14 * 24 * time.Hour}

// noticeBatch is the number of keys that one query returns.
const noticeBatch = 100

// noticeExpiringKeys emits an event for each access key that expires soon. The store decides which instance
// emits it. If nothing expires, it costs one query for each of expiryLeads.
func (s *Service) noticeExpiringKeys(ctx context.Context) error {
	for _, lead := range expiryLeads {
		for {
			keys, err := s.store.ListExpiringKeys(ctx, s.now(), lead, noticeBatch)
			if err != nil {
				return fmt.Errorf("auth: listing expiring access keys: %w", err)
			}
			emitted, err := s.noticeExpiry(ctx, keys, lead)
			if err != nil {
				return err
			}
			// If another instance emits the events of a whole page, it goes on with the next page.
			if len(keys) < noticeBatch || emitted == 0 {
				break
			}
		}
	}
	return nil
}

// noticeExpiry emits the events of these keys, and returns their number.
func (s *Service) noticeExpiry(
	ctx context.Context, keys []AccessKey, lead time.Duration,
) (emitted int, err error) {
	for _, key := range keys {
		c := s.newChange(ctx, ByHost("auth.Prune"), Event{Kind: eventkind.KeyExpiring, UserID: key.UserID,
			AccessKey: s.credentials.loggableName(key.ID),
			Reason:    "in " + roughly(key.ExpiresAt.Sub(s.now())) + ", at " + key.ExpiresAt.UTC().Format(time.RFC3339)})
		err := s.store.RecordExpiryNotice(ctx, c.write, key.ID, lead)
		switch {
		case err == nil:
			c.recordEvent(ctx)
			emitted++
		case errors.Is(err, ErrChanged), errors.Is(err, ErrNotFound): // another instance was first, or no key
		default:
			return emitted, fmt.Errorf("auth: recording the notice of an expiring access key: %w", err)
		}
	}
	return emitted, nil
}

// roughly returns the duration in days or, below two days, in hours, for people.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	n, unit := int(d.Round(time.Hour)/time.Hour), "hour"
	if d >= 2*day {
		n, unit = int(d.Round(day)/day), "day"
	}
	switch {
	case n < 1:
		return "less than an hour"
	case n > 1:
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
