package revocation

import "fmt"

// HoleError means that the revocation feed has a hole, or is out of order. If After is less than
// Before, the entries between these two Positions are missing. Otherwise, the entries are out of
// order.
type HoleError struct{ After, Before int64 }

// Error returns a message with the two Positions.
func (e *HoleError) Error() string {
	return fmt.Sprintf("the revocation feed goes from position %d to %d, and no entry between them can "+
		"have been pruned",
		e.After, e.Before)
}

// proof returns the lowest Position that the newest entry of the feed must have if the missing
// entries were pruned. The newest KeptEntries entries are never pruned, so at least KeptEntries
// entries must follow the hole.
func (e *HoleError) proof() int64 { return e.Before - 1 + KeptEntries }

// FindHole returns the first hole in a page of the revocation feed, or nil. A page is the result of
// one read: the entries after the cursor, in order. The cursor is the Position of the last entry of
// the earlier pages, or 0. A missing entry must be noticed, because the sessions that the entry
// revokes would otherwise stay accepted.
//
// Two kinds of missing entries do not count as a hole:
//
//   - Pruned entries. The newest KeptEntries entries are never pruned. As the Position of the
//     newest entry, FindHole takes the greatest Position in the page, or the parameter newest if
//     this parameter is greater. The parameter newest is the greatest Position outside the page
//     that is known to be in the feed, or 0.
//   - Entries that a later entry makes unnecessary. The later entry revokes the sessions of all
//     users, and its Generation is at least the Position of the missing entries. A repair of lost
//     commits leaves such a gap.
//
// FindHole also returns a hole if entries are out of order.
func FindHole(cursor int64, page []Entry, newest int64) *HoleError {
	covered := int64(0) // entries up to this Position may be missing
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

// RequireContiguous returns a [*HoleError] if [FindHole] finds a hole in the page and the missing
// entries cannot have been pruned. The page alone does not always show whether entries were pruned,
// because the feed may have later entries. If the parameter full is true, there may be many later
// entries. RequireContiguous then calls the function list to read them, and returns an error of
// this function unchanged.
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
