package revocation

import "fmt"

// HoleError says that entries of the feed are missing between two Positions, or that the Position
// After is not less than the Position Before.
type HoleError struct{ After, Before int64 }

// Error names the two Positions.
func (e *HoleError) Error() string {
	return fmt.Sprintf("the revocation feed goes from position %d to %d, and no entry between them can "+
		"have been pruned",
		e.After, e.Before)
}

// proof returns a Position. If the feed reaches this Position, the missing entries may have been
// pruned. It is the least such Position.
func (e *HoleError) proof() int64 { return e.Before - 1 + KeptEntries }

// FindHole returns the first hole in a page of the feed, or nil. The page contains the entries
// after the cursor. The cursor is the Position of the last entry that was read, or 0. Without this
// check, the session of a missing entry would stay accepted, and nobody would notice.
//
// Two kinds of entries may be missing:
//
//   - Pruned entries. The newest KeptEntries entries are never pruned. The argument newest is the
//     greatest Position that is known to be in the feed. The page may contain greater ones.
//   - Entries that come before an entry for the sessions of all users, up to the Generation of that
//     entry, because it revokes the same sessions. A repair of lost commits leaves such a gap.
//
// FindHole also returns a hole if entries are out of order.
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

// RequireContiguous returns a [*HoleError] if [FindHole] finds one in a page as a store has
// returned it. A full page does not show how far the feed goes, so RequireContiguous calls list to
// find out whether the missing entries may have been pruned. It returns an error of list.
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
		if next != nil && *next == *hole { // pruning does not explain the hole: the entries are out of order
			return hole
		}
		hole = next
	}
	return nil
}
