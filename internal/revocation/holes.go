package revocation

import "fmt"

// HoleError says that entries of the feed are missing between two Positions, or that the first is
// not less than the second.
type HoleError struct{ After, Before int64 }

// Error names the two Positions.
func (e *HoleError) Error() string {
	return fmt.Sprintf("the revocation feed goes from position %d to %d, and no entry between them can "+
		"have been pruned",
		e.After, e.Before)
}

// proof returns the least Position that, if the feed goes as far, shows that the missing entries can
// have been pruned.
func (e *HoleError) proof() int64 { return e.Before - 1 + KeptEntries }

// FindHole returns the first hole in a page of the feed, or nil. The page is the entries after the
// cursor, the Position of the last entry that was read, or 0. The session of a missing entry would
// stay accepted, and nobody would notice.
//
// Two kinds of entries may be missing:
//
//   - Pruned entries. The newest KeptEntries are never pruned. Newest is the greatest Position that
//     is known to be in the feed, beside those of the page.
//   - Entries before one that revokes the sessions of all users, up to its Generation, because it
//     revokes the same sessions. A repair of lost commits leaves such a gap.
//
// Entries that are out of order are a hole, too.
func FindHole(cursor int64, page []Entry, newest int64) *HoleError {
	covered := int64(0) // missing entries up to this Position are harmless
	for i := range page {
		entry := &page[i]
		newest = max(newest, entry.Position)
		if entry.UserID == "" && entry.SessionID == "" {
			covered = max(covered, min(entry.Generation, entry.Position))
		}
	}
	covered = max(covered, newest-KeptEntries)
	for i := range page {
		position := page[i].Position
		if last := position - 1; last < cursor || last > max(cursor, covered) {
			return &HoleError{After: cursor, Before: position}
		}
		cursor = position
	}
	return nil
}

// RequireContiguous returns a [*HoleError] if [FindHole] finds one in a page as a store has returned
// it. A full page does not show how far the feed goes, so list is asked for the entries from there
// on. An error of list is returned.
func RequireContiguous(
	cursor int64, page []Entry, full bool, list func(from int64, limit int) ([]Entry, error),
) error {
	hole := FindHole(cursor, page, 0)
	for hole != nil {
		if !full {
			return hole
		}
		later, err := list(hole.proof(), 1)
		switch {
		case err != nil:
			return err
		case len(later) == 0 || later[0].Position < hole.proof():
			return hole
		}
		next := FindHole(cursor, page, later[0].Position)
		if next != nil && *next == *hole { // no pruning explains it: the entries are out of order
			return hole
		}
		hole = next
	}
	return nil
}
