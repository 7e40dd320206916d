package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// githubLink is a link's record, and the token that goes when it goes.
type githubLink struct {
	record auth.GitHubLink
	token  *githubToken // nil if there is none
}

// FindGitHubLink implements [auth.GitHubStore].
func (s *accounts) FindGitHubLink(ctx context.Context, account auth.GitHubAccount) (auth.GitHubLink, error) {
	if err := check(ctx); err != nil {
		return auth.GitHubLink{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	link := s.links[account]
	if link == nil {
		return auth.GitHubLink{}, fmt.Errorf("memstore: GitHub account: %w", auth.ErrNotFound)
	}
	return link.record, nil
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *accounts) FindGitHubConnection(ctx context.Context, userID, host string) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := check(ctx); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, link, err := s.link(userID, host)
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	return link.record, link.copyToken(), nil
}

// SignInGitHub implements [auth.GitHubStore].
func (s *accounts) SignInGitHub(ctx context.Context, signIn auth.GitHubSignInWrite) (auth.Session, auth.User, error) {
	if err := s.checkSignIn(ctx, signIn); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.whoSignsIn(signIn)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	opened, err := s.newSession(u, signIn.Session)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if signIn.Token != nil {
		if err := checkTokenVersion(u.links[signIn.Link.Account.Host], signIn.TokenVersion); err != nil {
			return auth.Session{}, auth.User{}, err
		}
	}

	if signIn.NewUser != nil {
		s.addUser(u)
	} else {
		u.admitAgain(signIn.Link.SeenAt)
	}
	link := s.setLink(u, signIn.Link)
	if signIn.Token != nil {
		link.token = newToken(*signIn.Token)
	}
	s.makeRoom(opened, signIn.SessionLimit)
	s.addSession(opened)
	return opened.record, u.record, nil
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *accounts) ConnectGitHub(ctx context.Context, connect auth.GitHubConnectWrite) error {
	if err := checkConnect(ctx, connect); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.whoConnects(connect)
	if err != nil {
		return err
	}
	account := connect.Link.Account
	own, linked := u.links[account.Host], s.links[account]
	if own != linked { // or else both are nil, or the one that is to be renewed
		return fmt.Errorf("memstore: link of the GitHub account, or of the user: %w", auth.ErrExists)
	}
	if err := checkTokenVersion(own, connect.TokenVersion); err != nil {
		return err
	}
	s.setLink(u, connect.Link).token = newToken(connect.Token)
	u.admitAgain(connect.Link.SeenAt)
	return nil
}

// UpdateGitHubLink implements [auth.GitHubStore].
func (s *accounts) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := check(ctx, link); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	linked := s.links[link.Account]
	if linked == nil || linked.record.UserID != link.UserID {
		return fmt.Errorf("memstore: GitHub link of this user: %w", auth.ErrNotFound)
	}
	u := s.users[link.UserID]
	s.setLink(u, link)
	u.admitAgain(link.SeenAt)
	return nil
}

// UnlinkGitHub implements [auth.GitHubStore].
func (s *accounts) UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := check(ctx); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, link, err := s.link(userID, host)
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	if len(u.links) == 1 && !u.hasKeyAt(instant(now)) {
		return auth.GitHubLink{}, nil, fmt.Errorf("memstore: %w", auth.ErrLastWayIn)
	}
	s.removeLink(u, link)
	return link.record, link.copyToken(), nil
}

// checkSignIn returns an error if ctx is done, or if the records cannot be kept
// or are not all of one user and one account.
func (s *accounts) checkSignIn(ctx context.Context, signIn auth.GitHubSignInWrite) error {
	link := signIn.Link
	records := []validator{link, signIn.Session}
	ofUser := signIn.Session.UserID == link.UserID
	if user := signIn.NewUser; user != nil {
		records = append(records, user)
		ofUser = ofUser && user.ID == link.UserID
	}
	ofAccount := true
	if token := signIn.Token; token != nil {
		records = append(records, token)
		ofUser = ofUser && token.UserID == link.UserID
		ofAccount = token.Account == link.Account
	}
	if err := check(ctx, records...); err != nil {
		return err
	}
	if s.withoutUsers && signIn.NewUser != nil {
		return invalid("username", "must not be given: the store was made without users")
	}
	return checkAgreement(ofUser, ofAccount)
}

// checkConnect is checkSignIn for ConnectGitHub.
func checkConnect(ctx context.Context, connect auth.GitHubConnectWrite) error {
	link, token := connect.Link, connect.Token
	if err := check(ctx, link, token); err != nil {
		return err
	}
	return checkAgreement(token.UserID == link.UserID, token.Account == link.Account)
}

// checkAgreement returns an error unless records to be written together are all
// of one user, and all of one GitHub account.
func checkAgreement(ofUser, ofAccount bool) error {
	switch {
	case !ofUser:
		return invalid("user_id", "must be the same in all records of one call")
	case !ofAccount:
		return invalid("account_id", "must be the same in the token as in the link, on the same host")
	}
	return nil
}

// whoSignsIn returns the user to whom the account is linked, or the new one, who
// is still to be added. It changes nothing. The caller holds the lock.
func (s *accounts) whoSignsIn(signIn auth.GitHubSignInWrite) (*user, error) {
	if s.withoutUsers {
		return s.whoseAccount(signIn.Link)
	}
	link := s.links[signIn.Link.Account]
	isNew := signIn.NewUser != nil
	if isNew != (link == nil) || !isNew && link.record.UserID != signIn.Link.UserID {
		return nil, fmt.Errorf("memstore: link of the GitHub account: %w", auth.ErrChanged)
	}
	if !isNew {
		return s.user(signIn.Link.UserID)
	}
	record := *signIn.NewUser
	if s.emails.has(auth.FoldASCII(record.Email)) {
		record.Email = ""
	}
	return s.newUser(record)
}

// whoseAccount is whoSignsIn for a store without users: the link's user, unless
// the account is linked to another, or the user to another account of the host.
// The caller holds the lock.
func (s *accounts) whoseAccount(link auth.GitHubLink) (*user, error) {
	u, err := s.user(link.UserID)
	if err != nil {
		return nil, err
	}
	if u.links[link.Account.Host] != s.links[link.Account] { // or else both are nil, or the same
		return nil, fmt.Errorf("memstore: link of the GitHub account, or of the user: %w", auth.ErrChanged)
	}
	return u, nil
}

// whoConnects returns the user who is signed in with the session. The caller
// holds the lock.
func (s *accounts) whoConnects(connect auth.GitHubConnectWrite) (*user, error) {
	u, err := s.user(connect.Link.UserID)
	if err != nil {
		return nil, err
	}
	if err := s.checkActive(u); err != nil {
		return nil, err
	}
	asked, err := s.session(connect.SessionID)
	if err != nil {
		return nil, err
	}
	if asked.owner != u || !asked.record.ExpiresAt.After(instant(connect.At)) {
		return nil, fmt.Errorf("memstore: live session of this user: %w", auth.ErrNotFound)
	}
	return u, nil
}

// link returns the user with this ID and their link to an account of the host, or
// ErrNotFound. The caller holds the lock.
func (s *accounts) link(userID, host string) (*user, *githubLink, error) {
	u, err := s.user(userID)
	if err != nil {
		return nil, nil, err
	}
	link := u.links[host]
	if link == nil {
		return nil, nil, fmt.Errorf("memstore: GitHub link: %w", auth.ErrNotFound)
	}
	return u, link, nil
}

// setLink adds the link or renews it, once it has been checked. The caller holds
// the lock.
func (s *accounts) setLink(u *user, record auth.GitHubLink) *githubLink {
	record.CreatedAt = instant(record.CreatedAt)
	record.SeenAt = instant(record.SeenAt)
	link := s.links[record.Account]
	if link == nil {
		link = &githubLink{}
		s.links[record.Account] = link
		u.links[record.Account.Host] = link
		s.owns(u)
	} else {
		record.CreatedAt = link.record.CreatedAt
	}
	link.record = record
	return link
}

// admitAgain moves the user's AdmittedAt on if GitHub sign-in made the user. The
// caller holds the lock.
func (u *user) admitAgain(at time.Time) {
	if !u.record.AdmittedAt.IsZero() {
		u.record.AdmittedAt = instant(at)
	}
}

// removeLink removes the link with its token. The caller holds the lock.
func (s *accounts) removeLink(u *user, link *githubLink) {
	delete(s.links, link.record.Account)
	delete(u.links, link.record.Account.Host)
	s.lost(u)
}

// copyToken returns a copy of the link's token that is the caller's own, or nil.
func (l *githubLink) copyToken() *auth.GitHubToken {
	if l.token == nil {
		return nil
	}
	return new(l.token.copy())
}

// hasKeyAt reports whether the user has an access key that has not expired at
// the given time.
func (u *user) hasKeyAt(at time.Time) bool {
	for key := range u.keys {
		if key.goodAt(at) {
			return true
		}
	}
	return false
}
