package storekit

import (
	"slices"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/revocation"
)

// IsCapped reports whether the entry names a session and has a Generation equal to its Position. Such
// an entry exists only if the store has lost commits. The token of the session can then have a
// greater Generation than the entry. A later entry for the user or for all users can miss the
// token, because the later entry revokes only Generations below its own. Therefore, a store
// replaces a capped entry only by another entry for the same session.
func IsCapped(entry auth.Revocation) bool { return revocation.Entry(entry).IsCapped() }

// FoldRevocations keeps the revocation feed short if many of its entries each revoke one session of
// the same user. The argument contains these entries in any order. It must not contain an entry
// that a newer entry has replaced.
//
// FoldRevocations counts the given entries for which [IsCapped] is false. If there are more than
// [MaxNamedRevocations], it returns one entry for the user, which replaces most of the counted
// entries. Otherwise, it returns false. The returned entry expires with the last of the counted entries,
// even if that entry stays: the record of a session can end before the session's last token, if the store
// has lost commits.
//
// Capped entries stay in the feed. Of the counted entries, at most MaxNamedRevocations/2 stay:
// those with the greatest Generations. If FoldRevocations returns true, the store does the
// following in its transaction:
//
//   - It sets a zero ExpiresAt on each of the given entries that is not capped and whose Generation
//     is below that of the returned entry.
//   - It looks for the current entry for all sessions of the user. If there is one, and its
//     Generation is not greater than that of the returned entry, the store sets a zero ExpiresAt on
//     it.
//   - It removes the user's sessions whose Generations are below that of the returned entry.
//   - It raises the ExpiresAt of the returned entry to the latest ExpiresAt of the removed sessions
//     and the replaced entries.
//   - It adds the returned entry with the next Position.
func FoldRevocations(named []auth.Revocation) (folded auth.Revocation, ok bool) {
	named = slices.DeleteFunc(slices.Clone(named), IsCapped)
	if len(named) <= MaxNamedRevocations {
		return auth.Revocation{}, false
	}
	generations := make([]int64, len(named))
	for i, entry := range named {
		generations[i] = entry.Generation
	}
	slices.Sort(generations)
	folded.UserID = named[0].UserID
	folded.Generation = generations[len(generations)-1-MaxNamedRevocations/2] + 1
	for _, entry := range named {
		if entry.ExpiresAt.After(folded.ExpiresAt) {
			folded.ExpiresAt = entry.ExpiresAt
		}
	}
	return folded, true
}
