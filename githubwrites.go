package auth

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// GitHubSignInWrite is everything that a sign-in with GitHub writes.
type GitHubSignInWrite struct {
	// Link is what GitHub says of the account. Its UserID is that of NewUser, or of the
	// user that FindGitHubLink returned for the account.
	Link GitHubLink

	// NewUser is the user to add. It is nil if the account is linked already.
	NewUser *User

	// GrantSuperUser makes the user a super user, if the account's one grant is not spent.
	GrantSuperUser bool

	// Token replaces the token whose Version is TokenVersion. If TokenVersion is empty,
	// Token is the user's first. A nil Token leaves the stored token as it is.
	Token        *GitHubToken
	TokenVersion string

	// Session is created with SessionLimit as CreateSession's limit.
	Session      Session
	SessionLimit int
}

// GitHubConnectWrite is everything that connecting an account writes.
type GitHubConnectWrite struct {
	Link         GitHubLink
	Token        GitHubToken
	TokenVersion string // as in [GitHubSignInWrite]
}

// GitHubAccountState is what a store has of a GitHub account and of the user who is to be linked
// to it, read under the locks of a write.
type GitHubAccountState struct {
	// LinkedTo is the ID of the user whom the account signs in as; empty if there is none.
	LinkedTo string

	// RememberedFor is the ID of the user whom the account was last linked to; empty if there
	// is none.
	RememberedFor string

	// GrantSpent means that the account can make nobody a super user any more.
	GrantSpent bool

	// UserAccount is the account of the same host that the user is linked to; zero if there is
	// none.
	UserAccount GitHubAccount

	// TokenVersion is the Version of the user's token of the host; empty if there is none.
	TokenVersion string
}

// Validate returns an [InvalidError] for the first record that no store may keep, or that is not
// of the same user and the same account as the others.
func (w GitHubSignInWrite) Validate() error {
	err := cmp.Or(w.Link.Validate(), w.Session.Validate(), sameUser(w.Session.UserID, w.Link))
	if err == nil && w.NewUser != nil {
		err = cmp.Or(w.NewUser.Validate(), sameUser(w.NewUser.ID, w.Link))
	}
	if err == nil && w.Token != nil {
		err = validateLinkedToken(*w.Token, w.Link)
	}
	return err
}

// Validate returns an [InvalidError] for the first record that no store may keep, or that is not
// of the same user and the same account as the others.
func (w GitHubConnectWrite) Validate() error {
	return cmp.Or(w.Link.Validate(), validateLinkedToken(w.Token, w.Link))
}

func validateLinkedToken(token GitHubToken, link GitHubLink) error {
	if err := cmp.Or(token.Validate(), sameUser(token.UserID, link)); err != nil {
		return err
	}
	if token.Account != link.Account {
		return invalidf("account_id", "must be the same in the token as in the link, on the same host")
	}
	return nil
}

func sameUser(userID string, link GitHubLink) error {
	if userID != link.UserID {
		return invalidf("user_id", "must be the same in all records of one call")
	}
	return nil
}

// Check returns an error unless a sign-in may be written over the state. HasUsers says whether
// the store keeps users.
//
// It returns ErrGitHubNotAllowed if the account is remembered for a user to whom it is no longer
// linked, and ErrChanged if the caller must read the link and the token again: the account is
// linked to another user, or to one although there is a NewUser, or to nobody although there is
// none, or the token's Version is another. In a store that keeps no users, the account may also be
// linked to nobody, unless its user has another account of the host.
func (w GitHubSignInWrite) Check(state GitHubAccountState, hasUsers bool) error {
	switch {
	case state.LinkedTo == "" && state.RememberedFor != "":
		return fmt.Errorf("auth: the GitHub account was unlinked: %w", ErrGitHubNotAllowed)
	case w.NewUser != nil && state.LinkedTo != "",
		w.NewUser == nil && hasUsers && state.LinkedTo == "",
		state.LinkedTo != "" && state.LinkedTo != w.Link.UserID,
		state.LinkedTo == "" && state.UserAccount != GitHubAccount{}:
		return fmt.Errorf("auth: link of the GitHub account: %w", ErrChanged)
	case w.Token != nil && w.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", ErrChanged)
	}
	return nil
}

// Check returns an error unless a connection may be written over the state: ErrExists if the
// account is linked to another user or remembered for another, or if the user is linked to another
// account of the host, and ErrChanged if the token's Version is another than the caller read.
func (w GitHubConnectWrite) Check(state GitHubAccountState) error {
	others := func(userID string) bool { return userID != "" && userID != w.Link.UserID }
	switch {
	case others(state.LinkedTo), others(state.RememberedFor),
		state.UserAccount != GitHubAccount{} && state.UserAccount != w.Link.Account:
		return fmt.Errorf("auth: link of the GitHub account, or of the user: %w", ErrExists)
	case w.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", ErrChanged)
	}
	return nil
}

// FoldRevocations is the rule for a user of whom the feed names too many sessions. Named are the
// entries in force that name sessions of this one user, in any order. It returns false if there
// are at most [MaxNamedRevocations], [Revocation.Capped] ones not counted.
//
// Otherwise it returns the entry that replaces all but at most half of that many, those of the
// newest Generations. The store sets a zero ExpiresAt on the named entries whose Generations are
// below the returned entry's and that are not capped, and on the entry in force for the whole user unless that entry's is
// greater. It removes the user's sessions whose Generations are below, raises the ExpiresAt of the
// returned entry to theirs and to that of the entries it replaces, and adds it with the next Position.
func FoldRevocations(named []Revocation) (folded Revocation, ok bool) {
	named = slices.DeleteFunc(slices.Clone(named), Revocation.Capped)
	if len(named) <= MaxNamedRevocations {
		return Revocation{}, false
	}
	generations := make([]int64, len(named))
	for i, entry := range named {
		generations[i] = entry.Generation
	}
	slices.Sort(generations)
	folded.UserID = named[0].UserID
	folded.Generation = generations[len(generations)-1-MaxNamedRevocations/2] + 1
	for _, entry := range named {
		if entry.Generation < folded.Generation {
			folded.ExpiresAt = laterTime(folded.ExpiresAt, entry.ExpiresAt)
		}
	}
	return folded, true
}

func laterTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
