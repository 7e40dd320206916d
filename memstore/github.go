package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// githubLink is the record of a link and its token. A call that removes the link removes both.
type githubLink struct {
	record auth.GitHubLink
	token  *githubToken // nil if the user has no token
}

// githubAccount is what the store remembers about an account that was linked at least once.
type githubAccount struct {
	account       auth.GitHubAccount
	rememberedFor string // ID of the last linked user; empty if deleted or forgotten
	grantSpent    bool

	forgotten *expiry[auth.GitHubAccount] // nil while rememberedFor is set
}

// forget makes the store remember the account for no user. The caller holds the lock.
func (s *accounts) forget(account *githubAccount, now time.Time) {
	account.rememberedFor = ""
	account.forgotten = s.forgottenByTime.add(account.account, now)
}

// PruneGitHubAccounts implements [auth.GitHubStore].
func (s *accounts) PruneGitHubAccounts(ctx context.Context, forgotten time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forgottenByTime.prune(forgotten, limit, func(of auth.GitHubAccount) {
		account := s.remembered[of]
		if account.grantSpent {
			s.spentGrants.add(storekit.GitHubDigest(of))
		}
		s.forgottenByTime.remove(account.forgotten)
		delete(s.remembered, of)
	}), nil
}

// FindGitHubLink implements [auth.GitHubStore].
func (s *accounts) FindGitHubLink(
	ctx context.Context, account auth.GitHubAccount,
) (auth.GitHubLink, error) {
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
func (s *accounts) FindGitHubConnection(
	ctx context.Context, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
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
func (s *accounts) SignInGitHub(
	ctx context.Context, w auth.Write, signIn auth.GitHubSignInWrite,
) (auth.Session, auth.User, error) {
	if err := check(ctx, w, signIn); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if s.withoutUsers && signIn.NewUser != nil {
		return auth.Session{}, auth.User{},
			invalid("username", "must not be given: the store was made without users")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, signIn.Link.UserID)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	state := s.accountState(signIn.Link)
	if err := storekit.SignInGitHub(signIn, state, !s.withoutUsers); err != nil {
		return auth.Session{}, auth.User{}, fmt.Errorf("memstore: %w", err)
	}
	u, err := s.signInUser(signIn)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	opened, err := s.newSession(u, signIn.Session)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}

	if signIn.NewUser != nil {
		s.addUser(u)
	} else {
		u.recordAdmission(signIn.Link.SeenAt)
		s.fillEmail(u, signIn.Email)
	}
	link := s.setLink(u, signIn.Link)
	if signIn.Token != nil {
		link.token = newToken(*signIn.Token)
	}
	promoted := signIn.GrantSuperUser && s.promoteOnce(u, signIn.Link.Account)
	s.revokeOldest(opened, signIn.SessionLimit, signIn.Session.ExpiresAt)
	s.addSession(opened)
	if state.LinkedTo == "" || promoted {
		s.addEvent(w, now, subject{signIn.Link.UserID, signIn.Link.Account})
	}
	return opened.record, u.record, nil
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *accounts) ConnectGitHub(
	ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite,
) error {
	if err := check(ctx, w, connect); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, connect.Link.UserID)
	if err != nil {
		return err
	}
	u, err := s.user(connect.Link.UserID)
	if err != nil {
		return err
	}
	if err := s.checkGrant(w, nil); err != nil {
		return err
	}
	if err := storekit.ConnectGitHub(connect, s.accountState(connect.Link)); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	s.setLink(u, connect.Link).token = newToken(connect.Token)
	u.recordAdmission(connect.Link.SeenAt)
	s.addEvent(w, now, subject{connect.Link.UserID, connect.Link.Account})
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
	u.recordAdmission(link.SeenAt)
	return nil
}

// UnlinkGitHub implements [auth.GitHubStore].
func (s *accounts) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := check(ctx, w); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, userID)
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	u, link, err := s.link(userID, host)
	if err != nil {
		return auth.GitHubLink{}, nil, err
	}
	if len(u.links) == 1 && !u.hasKeyAt(now) {
		return auth.GitHubLink{}, nil, fmt.Errorf("memstore: %w", auth.ErrLastWayIn)
	}
	s.removeLink(u, link)
	var opened []*session
	for _, found := range u.sessions {
		ofDevice := found.record.Method == auth.MethodDevice && found.record.AccessKeyID == ""
		if found.record.Method == auth.MethodGitHub || ofDevice {
			opened = append(opened, found)
		}
	}
	s.revokeSessions(userID, lastTokenEnd(w, now), opened...)
	s.addEvent(w, now, subject{userID, link.record.Account})
	return link.record, link.copyToken(), nil
}

// ListGitHubAccounts implements [auth.GitHubStore]. It scans all accounts that were ever linked.
func (s *accounts) ListGitHubAccounts(ctx context.Context, userID string) ([]auth.GitHubAccount, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var remembered []auth.GitHubAccount
	for of, account := range s.remembered {
		if userID != "" && account.rememberedFor == userID {
			remembered = append(remembered, of)
		}
	}
	slices.SortFunc(remembered, func(a, b auth.GitHubAccount) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	return remembered, nil
}

// ForgetGitHubAccount implements [auth.GitHubStore].
func (s *accounts) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, "")
	if err != nil {
		return err
	}
	if err := s.checkGrant(w, nil); err != nil {
		return err
	}
	if s.links[account] != nil {
		return fmt.Errorf("memstore: link of the GitHub account: %w", auth.ErrExists)
	}
	remembered := s.remembered[account]
	if remembered == nil || remembered.rememberedFor == "" {
		return fmt.Errorf("memstore: remembered GitHub account: %w", auth.ErrNotFound)
	}
	about := subject{remembered.rememberedFor, account}
	if u := s.users[remembered.rememberedFor]; u != nil {
		delete(u.remembered, remembered)
	}
	s.forget(remembered, now)
	s.addEvent(w, now, about)
	return nil
}

// accountState returns the current state of the account and of the user in the given link. The
// caller holds the lock.
func (s *accounts) accountState(wanted auth.GitHubLink) (state storekit.GitHubState) {
	if link := s.links[wanted.Account]; link != nil {
		state.LinkedTo = link.record.UserID
	}
	state.GrantSpent = s.spentGrants.has(storekit.GitHubDigest(wanted.Account))
	if account := s.remembered[wanted.Account]; account != nil {
		state.RememberedFor, state.GrantSpent = account.rememberedFor, account.grantSpent
	}
	if u := s.users[wanted.UserID]; u != nil {
		state.UserIsService = u.record.IsService
		if link := u.links[wanted.Account.Host]; link != nil {
			state.UserAccount = link.record.Account
			if link.token != nil {
				state.TokenVersion = link.token.record.Version
			}
		}
	}
	return state
}

// signInUser returns the user who signs in, and changes nothing. If signIn.NewUser is set, the
// caller must then add the user to the store. The caller holds the lock.
func (s *accounts) signInUser(signIn auth.GitHubSignInWrite) (*user, error) {
	if signIn.NewUser == nil {
		return s.user(signIn.Link.UserID)
	}
	record := *signIn.NewUser
	if s.emails.has(auth.FoldASCII(record.Email)) {
		record.Email = ""
	}
	return s.newUser(record)
}

// fillEmail sets the e-mail address of a user who has none, unless the address is taken or the store
// keeps no users. The caller holds the lock.
func (s *accounts) fillEmail(u *user, email string) {
	if s.withoutUsers || email == "" || u.record.Email != "" || s.emails.has(auth.FoldASCII(email)) {
		return
	}
	u.record.Email = email
	s.addEmail(u, email)
}

// promoteOnce makes the user a super user and marks the grant of the account as spent. If the grant
// is already spent, or if the store has no users, promoteOnce does nothing. It reports whether the
// user became a super user in this call. The caller holds the lock.
func (s *accounts) promoteOnce(u *user, account auth.GitHubAccount) (promoted bool) {
	remembered := s.remembered[account]
	if s.withoutUsers || remembered.grantSpent {
		return false
	}
	remembered.grantSpent = true
	before, after := u.record, u.record
	after.IsSuperUser = true
	s.setUser(u, after)
	return !before.IsSuperUser
}

// spendGrants marks grants as spent, for all accounts that the store remembers for the user. These
// accounts can then no longer make anyone a super user. The caller holds the lock.
func (u *user) spendGrants() {
	for account := range u.remembered {
		account.grantSpent = true
	}
}

// link returns the user with this ID and the user's link to an account of the GitHub host. It
// returns ErrNotFound if there is no such user or link. The caller holds the lock.
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

// setLink adds or updates a link that the caller has checked. It also remembers the account for the
// user. The caller holds the lock.
func (s *accounts) setLink(u *user, record auth.GitHubLink) *githubLink {
	record.CreatedAt = storedTime(record.CreatedAt)
	record.SeenAt = storedTime(record.SeenAt)
	link := s.links[record.Account]
	if link == nil {
		link = &githubLink{}
		s.links[record.Account] = link
		u.links[record.Account.Host] = link
		s.ownerGained(u)
	} else {
		record.CreatedAt = link.record.CreatedAt
	}
	link.record = record
	account := s.remembered[record.Account]
	if account == nil {
		account = &githubAccount{account: record.Account,
			grantSpent: s.spentGrants.has(storekit.GitHubDigest(record.Account))}
		s.remembered[record.Account] = account
	}
	if account.forgotten != nil {
		s.forgottenByTime.remove(account.forgotten)
		account.forgotten = nil
	}
	account.rememberedFor = record.UserID
	u.remembered.add(account)
	return link
}

// recordAdmission sets AdmittedAt to the given time. AdmittedAt is zero if no GitHub sign-in
// created the user, or if the user was reset. In these cases, AdmittedAt stays zero. The caller
// holds the lock.
func (u *user) recordAdmission(at time.Time) {
	if !u.record.AdmittedAt.IsZero() {
		u.record.AdmittedAt = storedTime(at)
	}
}

// removeLink removes the link together with its token. The caller holds the lock.
func (s *accounts) removeLink(u *user, link *githubLink) {
	delete(s.links, link.record.Account)
	delete(u.links, link.record.Account.Host)
	s.ownerLost(u)
}

// copyToken returns a copy of the link's token, or nil if there is none.
func (l *githubLink) copyToken() *auth.GitHubToken {
	if l.token == nil {
		return nil
	}
	return new(l.token.copy())
}

// hasKeyAt reports whether the user has an access key that has not expired at the given time.
func (u *user) hasKeyAt(at time.Time) bool {
	for key := range u.keys {
		if key.validAt(at) {
			return true
		}
	}
	return false
}
