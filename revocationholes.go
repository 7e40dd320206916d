package auth

import (
	"errors"
	"fmt"
)

// checkContiguous returns a *holeError if an entry of the revocation feed is missing in the page. The
// page is the entries after the cursor, the Position of the last entry that was read, or 0. The
// session of a missing entry would stay accepted, and nobody would notice.
//
// Two kinds of entries may be missing:
//
//   - Pruned entries. The newest KeptRevocations are never pruned. Newest is the greatest Position
//     that is known to be in the feed, beside those of the page.
//   - Entries before one that revokes the sessions of all users, up to its Generation, because it
//     revokes the same sessions. A repair of lost commits leaves such a gap.
//
// Entries that are out of order are an error of the same type.
func checkContiguous(cursor int64, page []Revocation, newest int64) error {
	covered := int64(0) // missing entries up to this Position are harmless
	for _, entry := range page {
		newest = max(newest, entry.Position)
		if entry.UserID == "" && entry.SessionID == "" {
			covered = max(covered, min(entry.Generation, entry.Position))
		}
	}
	covered = max(covered, newest-KeptRevocations)
	for _, entry := range page {
		if last := entry.Position - 1; last < cursor || last > max(cursor, covered) {
			return &holeError{after: cursor, before: entry.Position}
		}
		cursor = entry.Position
	}
	return nil
}

// holeError says that entries of the revocation feed are missing between two of its Positions, or
// that the first is not less than the second.
type holeError struct{ after, before int64 }

func (e *holeError) Error() string {
	return fmt.Sprintf("the revocation feed goes from position %d to %d, and no entry between them can have been pruned", e.after, e.before)
}

// proof returns the least Position that, if the feed goes as far, shows that the missing entries can
// have been pruned.
func (e *holeError) proof() int64 { return e.before - 1 + KeptRevocations }

// requireContiguous is checkContiguous for a page of the feed as ListRevocations has returned it. A
// page that is full does not show how far the feed goes, so list is asked for what comes after.
func requireContiguous(cursor int64, page []Revocation, full bool, list func(from int64, limit int) ([]Revocation, error)) error {
	err := checkContiguous(cursor, page, 0)
	for full {
		hole, ok := errors.AsType[*holeError](err)
		if !ok {
			break
		}
		later, listErr := list(hole.proof(), 1)
		switch {
		case listErr != nil:
			return listErr
		case len(later) == 0 || later[0].Position < hole.proof():
			return err
		}
		err = checkContiguous(cursor, page, later[0].Position)
		if again, ok := errors.AsType[*holeError](err); ok && *again == *hole { // out of order
			return err
		}
	}
	return err
}
