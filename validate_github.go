package auth

import (
	"cmp"
	"fmt"
)

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (l GitHubLink) Validate() error {
	return cmp.Or(
		l.Account.validate(),
		checkID("user_id", l.UserID, MaxIDLength),
		checkID("login", l.Login, maxGitHubTextLength),
		checkText("name", l.Name, maxGitHubTextLength),
		checkText("avatar_url", l.AvatarURL, maxGitHubTextLength),
		checkTime("created_at", l.CreatedAt),
		checkTime("seen_at", l.SeenAt),
	)
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (t GitHubToken) Validate() error {
	if len(t.Sealed) == 0 || len(t.Sealed) > maxSealedLength {
		return invalidf("token", "must be 1 to %d bytes long when sealed", maxSealedLength)
	}
	return cmp.Or(
		t.Account.validate(),
		checkID("user_id", t.UserID, MaxIDLength),
		checkID("version", t.Version, MaxIDLength),
		checkText("scopes", t.Scopes, maxGitHubTextLength),
		checkTime("updated_at", t.UpdatedAt),
	)
}

func (a GitHubAccount) validate() error {
	if a.ID <= 0 {
		return invalidf("account_id", "must be more than zero")
	}
	return checkID("host", a.Host, MaxGitHubHostLength)
}

// Validate returns an [InvalidError] for the first record that is not valid or does not match the
// Link. If there is no such record, it returns nil. Every record must belong to the user of the
// Link. A Token must also belong to the GitHub account of the Link.
func (w GitHubSignInWrite) Validate() error {
	err := cmp.Or(w.Link.Validate(), w.Session.Validate(), sameUser(w.Session.UserID, w.Link),
		checkText("email", w.Email, maxEmailLength))
	if err == nil && w.NewUser != nil {
		err = cmp.Or(w.NewUser.Validate(), sameUser(w.NewUser.ID, w.Link))
	}
	if err == nil && w.NewUser != nil && w.NewUser.IsService {
		err = invalidf("is_service", "must be false for a user who signs in with GitHub")
	}
	if err == nil && w.Token != nil {
		err = validateLinkedToken(*w.Token, w.Link)
	}
	return err
}

// Validate returns an [InvalidError] for the first record that is not valid or does not match the
// Link. If there is no such record, it returns nil. The Token must belong to the user and the
// GitHub account of the Link.
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

// Check returns an error if a store must not write the sign-in. The state argument is what the
// store has read about the GitHub account and the user of the Link. The hasUsers argument says
// whether the store keeps users.
//
// Check returns ErrServiceUser if the user is a service user. It returns ErrGitHubNotAllowed if the state
// has a RememberedFor but no LinkedTo: the account was linked before and has been unlinked. In the
// following cases, Check returns ErrChanged, and the caller must read the link and the token again:
//
//   - The account is linked to another user.
//   - The account is linked, and there is a NewUser.
//   - The account is not linked, there is no NewUser, and the store keeps users.
//   - The account is not linked, and the user of the Link is linked to another account of the
//     GitHub host.
//   - There is a Token, and the Version of the stored token is not TokenVersion.
func (w GitHubSignInWrite) Check(state GitHubAccountState, hasUsers bool) error {
	switch {
	case state.UserIsService:
		return fmt.Errorf("auth: signing in with GitHub: %w", ErrServiceUser)
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

// Check returns an error if a store must not write the connection. The state argument is what the
// store has read about the GitHub account and the user of the Link. Check returns ErrChanged if the
// Version of the stored token is not TokenVersion, and ErrServiceUser if the user is a service user. It
// returns ErrExists in two cases:
//
//   - The account is linked to another user, or the RememberedFor of the state is another user.
//   - The user is linked to another account of the GitHub host.
func (w GitHubConnectWrite) Check(state GitHubAccountState) error {
	isAnother := func(userID string) bool { return userID != "" && userID != w.Link.UserID }
	switch {
	case state.UserIsService:
		return fmt.Errorf("auth: connecting a GitHub account: %w", ErrServiceUser)
	case isAnother(state.LinkedTo), isAnother(state.RememberedFor),
		state.UserAccount != GitHubAccount{} && state.UserAccount != w.Link.Account:
		return fmt.Errorf("auth: link of the GitHub account, or of the user: %w", ErrExists)
	case w.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", ErrChanged)
	}
	return nil
}
