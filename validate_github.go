package auth

import (
	"cmp"
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
	return checkID("host", a.Host, maxGitHubHostLength)
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
