package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxAttempts is how often a write is tried again that another one overtook. Each
// time somebody has got through, so few are enough.
const maxAttempts = 8

// githubSignedIn is what signIn has come to.
type githubSignedIn struct {
	token     *Token
	isNew     bool
	keptToken bool // whether the store has the grant now
}

// signIn finds or makes the user of the account, and opens a session, in one
// transaction of the store.
func (g *GitHubConnector) signIn(ctx context.Context, profile GitHubProfile, grant githubGrant) (githubSignedIn, error) {
	var email string
	asked := false
	for attempt := range maxAttempts {
		signIn, err := g.signInRecords(ctx, profile, grant)
		if err != nil {
			return githubSignedIn{}, err
		}
		if signIn.NewUser != nil {
			if !asked {
				if email, err = g.api.email(ctx, grant.AccessToken); err != nil {
					return githubSignedIn{}, err
				}
				asked = true
			}
			signIn.NewUser.Email = email
			signIn.NewUser.Username = usernameFor(profile.Login, attempt > 0)
		}
		session, user, err := g.store.SignInGitHub(ctx, signIn)
		switch {
		case errors.Is(err, ErrChanged), errors.Is(err, ErrExists):
			continue // another instance was there first, or has the username
		case errors.Is(err, ErrUserDisabled):
			return githubSignedIn{}, ErrGitHubNotAllowed
		case err != nil:
			return githubSignedIn{}, fmt.Errorf("auth: signing in with GitHub: %w", err)
		}
		result := githubSignedIn{isNew: signIn.NewUser != nil, keptToken: signIn.Token != nil}
		token, err := g.tokens.token(session, user)
		result.token = &token
		return result, err
	}
	return githubSignedIn{}, errors.New("auth: signing in with GitHub: overtaken too often")
}

// signInRecords returns what a sign-in of the account is to write, as the store
// is now.
func (g *GitHubConnector) signInRecords(ctx context.Context, profile GitHubProfile, grant githubGrant) (GitHubSignIn, error) {
	now := g.cfg.Now()
	signIn := GitHubSignIn{Link: g.link(profile, now)}
	link, err := g.store.FindGitHubLink(ctx, profile.Account)
	switch {
	case err == nil:
		signIn.Link.UserID = link.UserID
	case !errors.Is(err, ErrNotFound):
		return GitHubSignIn{}, fmt.Errorf("auth: looking for a GitHub account: %w", err)
	case g.cfg.NoRegistration:
		return GitHubSignIn{}, ErrGitHubNotAllowed
	default:
		signIn.NewUser = &User{
			ID:          rand.Text(),
			IsSuperUser: slices.Contains(g.cfg.SuperUsers, profile.Account.ID),
			IsActive:    true,
			CreatedAt:   now,
			AdmittedAt:  now,
		}
		signIn.Link.UserID = signIn.NewUser.ID
	}
	signIn.Session = g.tokens.newSession(SignIn{UserID: signIn.Link.UserID, Method: MethodGitHub})
	return signIn, g.chooseToken(ctx, &signIn, grant)
}

func (g *GitHubConnector) link(profile GitHubProfile, now time.Time) GitHubLink {
	return GitHubLink{
		Account:   profile.Account,
		Login:     profile.Login,
		Name:      profile.Name,
		AvatarURL: profile.AvatarURL,
		CreatedAt: now,
		SeenAt:    now,
	}
}

// chooseToken puts the grant into the sign-in unless the store has a token that
// can do more: a sign-in never narrows what connecting was for.
func (g *GitHubConnector) chooseToken(ctx context.Context, signIn *GitHubSignIn, grant githubGrant) error {
	userID, account := signIn.Link.UserID, signIn.Link.Account
	if signIn.NewUser == nil {
		have, err := g.store.FindGitHubConnection(ctx, userID, account.Host)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("auth: looking for a GitHub token: %w", err)
		}
		if err == nil && have.Token != nil {
			if !covers(grant.scopes, have.Token.Scopes) {
				return nil
			}
			signIn.TokenVersion = have.Token.Version
		}
	}
	token, err := g.seal(grant, userID, account)
	signIn.Token = &token
	return err
}

// connect links the account to the user who began the flow, and keeps the token.
func (g *GitHubConnector) connect(ctx context.Context, flow githubFlow, profile GitHubProfile, grant githubGrant) (*GitHubLink, error) {
	for range maxAttempts {
		now := g.cfg.Now()
		link := g.link(profile, now)
		link.UserID = flow.UserID
		token, err := g.seal(grant, flow.UserID, profile.Account)
		if err != nil {
			return nil, err
		}
		connect := GitHubConnect{Link: link, Token: token, SessionID: flow.SessionID, At: now}
		have, err := g.store.FindGitHubConnection(ctx, flow.UserID, profile.Account.Host)
		switch {
		case err == nil && have.Token != nil:
			connect.TokenVersion = have.Token.Version
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("auth: looking for a GitHub token: %w", err)
		}
		switch err := g.store.ConnectGitHub(ctx, connect); {
		case errors.Is(err, ErrChanged):
			continue
		case errors.Is(err, ErrExists):
			return nil, ErrGitHubConflict
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrUserDisabled):
			return nil, ErrGitHubState // the session that asked for it has ended
		case err != nil:
			return nil, fmt.Errorf("auth: connecting a GitHub account: %w", err)
		}
		return &link, nil
	}
	return nil, errors.New("auth: connecting a GitHub account: overtaken too often")
}

// reservedUsernames are those that people would take for somebody else.
var reservedUsernames = []string{
	"admin", "administrator", "api", "auth", "github", "help", "host", "info", "login", "me", "moderator", "nobody",
	"null", "owner", "register", "root", "security", "staff", "superuser", "support", "system", "undefined", "user", "webmaster",
}

// usernameFor makes a username of a GitHub login: its letters, digits, hyphens
// and underscores, and a random tail where the name is reserved or was taken. It
// is never changed later, when the login is.
func usernameFor(login string, taken bool) string {
	const longest = 39 // as at GitHub
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlphanumeric(byte(r)) || r == '-' || r == '_') {
			return r
		}
		return -1
	}, login)
	name = name[:min(len(name), longest)]
	if taken || name == "" || slices.Contains(reservedUsernames, FoldASCII(name)) {
		name = strings.TrimPrefix(name+"-", "-") + FoldASCII(rand.Text()[:6])
	}
	return name
}
