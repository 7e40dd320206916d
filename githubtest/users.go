package githubtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// User is an account at the fake GitHub.
type User struct {
	ID          int64 // identifies the account; logins can change
	Login       string
	Name        string // empty means null in /user
	Emails      []Email
	Memberships []Membership
	Teams       []Team
	Repos       []Repo
}

// Email is an e-mail address of a user.
type Email struct {
	Address  string
	Primary  bool
	Verified bool
	Public   bool // shown in the profile
}

// Org is an organization.
type Org struct {
	ID    int64
	Login string
}

// Membership is a user's membership in an organization.
type Membership struct {
	Org     Org
	Pending bool // invited, but not accepted yet
	Admin   bool
}

// Team is a team in an organization.
type Team struct {
	ID   int64
	Slug string
	Org  Org
}

// Repo is a repository of a user.
type Repo struct {
	ID      int64
	Name    string
	Private bool // listed only for a token with the scope "repo"
}

// Users returns copies of all accounts.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]User, len(s.users))
	for i, user := range s.users {
		users[i] = user.clone()
	}
	return users
}

// SetUser adds the user. If a user with the same ID exists, SetUser replaces that user. For
// example, a test can rename a user or add an organization. The user's tokens stay valid.
//
// SetUser returns an error if the ID is not positive, the login is empty, or another user has the
// login. Logins that differ only in letter case count as the same. A login is free again after its
// user was renamed or removed.
func (s *Server) SetUser(user User) error {
	if user.ID <= 0 || user.Login == "" {
		return errors.New("githubtest: a user needs a positive ID and a Login")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	place := len(s.users)
	for i, other := range s.users {
		switch {
		case other.ID == user.ID:
			place = i
		case strings.EqualFold(other.Login, user.Login):
			return fmt.Errorf("githubtest: the login %q belongs to user %d", user.Login, other.ID)
		}
	}
	if place == len(s.users) {
		s.users = append(s.users, User{})
	}
	s.users[place] = user.clone()
	return nil
}

// RemoveUser deletes an account with its tokens and codes.
func (s *Server) RemoveUser(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(user User) bool { return user.ID == id })
	s.grants.forget(id)
}

// SignInAs makes the user with this login agree to every authorization at once, without a page. The
// user still agrees after a change of login. If the login is empty, no user agrees automatically,
// and a page asks for consent. If no user has the login, SignInAs returns an error.
func (s *Server) SignInAs(login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if login == "" {
		s.autoApprove = 0
		return nil
	}
	for _, user := range s.users {
		if strings.EqualFold(user.Login, login) {
			s.autoApprove = user.ID
			return nil
		}
	}
	return fmt.Errorf("githubtest: there is no user %q to sign in as", login)
}

// userByID returns the user with this ID. The caller holds the lock.
func (s *Server) userByID(id int64) (User, bool) {
	for _, user := range s.users {
		if user.ID == id {
			return user.clone(), true
		}
	}
	return User{}, false
}

func (u User) clone() User {
	u.Emails = slices.Clone(u.Emails)
	u.Memberships = slices.Clone(u.Memberships)
	u.Teams = slices.Clone(u.Teams)
	u.Repos = slices.Clone(u.Repos)
	return u
}

// publicEmail returns the address that the public profile shows, or nil.
func (u User) publicEmail() any {
	for _, email := range u.Emails {
		if email.Public && email.Verified {
			return email.Address
		}
	}
	return nil
}

func defaultUsers() []User {
	octoOrg := Org{ID: 6811672, Login: "octo-org"}
	verified := func(address string) []Email {
		return []Email{{Address: address, Primary: true, Verified: true}}
	}
	return []User{
		{
			ID: 583231, Login: "octocat", Name: "The Octocat",
			Emails: []Email{
				{Address: "octocat@example.com", Primary: true, Verified: true, Public: true},
				{Address: "583231+octocat@users.noreply.example.com", Verified: true},
			},
			Memberships: []Membership{{Org: octoOrg, Admin: true}},
			Teams:       []Team{{ID: 2001, Slug: "justice-league", Org: octoOrg}},
			Repos: []Repo{{ID: 1296269, Name: "Hello-World"},
				{ID: 1296270, Name: "Secret-World", Private: true}},
		},
		{
			ID: 480938, Login: "hubot", Name: "Hubot",
			Emails:      verified("hubot@example.com"),
			Memberships: []Membership{{Org: octoOrg, Pending: true}},
		},
		{ID: 9000001, Login: "no-email"},
		{ID: 9000002, Login: "unverified", Emails: []Email{{Address: "unverified@example.com",
			Primary: true}}},
		{ID: 9000003, Login: "admin", Name: "Not Your Admin", Emails: verified("admin@example.com")},
	}
}
