package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/oauthstate"
)

// githubSignInResult is the result of signIn. The field keptToken is valid even if there is an error.
type githubSignInResult struct {
	token     *Token
	isNew     bool
	keptToken bool // the store keeps GitHub's token, so the token must not be revoked
}

// signIn finds or creates the user of the account and opens a session, in one transaction of the store.
func (g *GitHubConnector) signIn(
	ctx context.Context, profile GitHubProfile, grant githubapi.Grant,
) (githubSignInResult, error) {
	email := sync.OnceValues(func() (string, error) { return g.api.Email(ctx, grant.AccessToken) })
	for attempt := range maxAttempts {
		signIn, isNew, err := g.signInRecords(ctx, profile, grant, email)
		if err != nil {
			return githubSignInResult{}, asNotAllowed(err)
		}
		if signIn.NewUser != nil {
			signIn.NewUser.Username = githubapi.Username(profile.Login, attempt > 0)
		}
		promotes, err := g.mayPromote(ctx, signIn)
		if err != nil {
			return githubSignInResult{}, err
		}
		c := g.signInChange(ctx, signIn, isNew)
		session, user, err := g.store.SignInGitHub(ctx, c.write, signIn)
		switch {
		case errors.Is(err, ErrChanged), errors.Is(err, ErrExists):
			continue // another write was first, or the username is taken
		case errors.Is(err, ErrUserDisabled):
			return githubSignInResult{}, ErrGitHubNotAllowed
		case err != nil:
			return githubSignInResult{}, fmt.Errorf("auth: signing in with GitHub: %w", err)
		case isNew, promotes && user.IsSuperUser:
			c.recordEvent(ctx)
		}
		if signIn.GrantSuperUser && !user.IsSuperUser {
			g.cfg.Logger.WarnContext(ctx,
				"auth: GitHubConfig.SuperUsers lists an account whose user is not a super user: "+
					"its grant was spent when the user was demoted, reset or deleted",
				"user_id", user.ID, "github_id", profile.Account.ID)
		}
		return g.finishSignIn(ctx, signIn, isNew, session, user)
	}
	return githubSignInResult{}, errors.New("auth: signing in with GitHub: another request changed the " +
		"records each time")
}

// signInChange returns the change of a sign-in. If the account is not linked yet, the event of the
// change is eventkind.UserCreated. If the account is linked and is listed in GitHubConfig.SuperUsers,
// the event is eventkind.UserChanged. It is recorded only if the user becomes a super user. In all other
// cases, the change has no event.
func (g *GitHubConnector) signInChange(ctx context.Context, signIn GitHubSignInWrite, isNew bool) change {
	e := Event{UserID: signIn.Link.UserID, ActorID: signIn.Link.UserID, GitHub: signIn.Link.Account,
		Method: MethodGitHub}
	switch {
	case isNew:
		e.Kind, e.Reason = eventkind.UserCreated, "signed in with GitHub"
	case signIn.GrantSuperUser:
		e.Kind, e.Reason = eventkind.UserChanged, "is_super_user=true by GitHubConfig.SuperUsers"
	}
	return g.tokens.newChange(ctx, ByHost("auth.SignInGitHub"), e)
}

// mayPromote reports whether the sign-in can make an existing user a super user.
func (g *GitHubConnector) mayPromote(ctx context.Context, signIn GitHubSignInWrite) (bool, error) {
	if !signIn.GrantSuperUser || signIn.NewUser != nil || g.users == nil {
		return false, nil
	}
	user, err := g.users.FindUser(ctx, signIn.Link.UserID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("auth: signing in with GitHub: %w", err)
	}
	return err == nil && !user.IsSuperUser, nil
}

// finishSignIn calls issueFor, which issues the token of the session. If issueFor fails, issueFor
// revokes the session. For example, issueFor fails if the host disables the user during the
// sign-in. If issueFor fails and the sign-in has stored the user's first GitHub token, finishSignIn
// removes that GitHub token. The link stays, because the user existed and was active when the link
// was written.
func (g *GitHubConnector) finishSignIn(
	ctx context.Context, signIn GitHubSignInWrite, isNew bool, session Session, user User,
) (githubSignInResult, error) {
	result := githubSignInResult{isNew: isNew, keptToken: signIn.Token != nil}
	token, err := g.tokens.issueFor(ctx, session, user)
	if err == nil {
		result.token = &token
		return result, nil
	}
	if signIn.Token != nil && signIn.TokenVersion == "" {
		result.keptToken = false // so that the caller revokes the token at GitHub
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
		defer cancel()
		c := g.tokens.newChange(ctx, ByHost("auth.SignInGitHub"), Event{})
		_, err := g.store.DeleteGitHubToken(ctx, c.write, signIn.Token.UserID, signIn.Token.Account.Host,
			signIn.Token.Version)
		if err != nil && !errors.Is(err, ErrNotFound) {
			g.cfg.Logger.WarnContext(ctx, "auth: the GitHub token of a refused sign-in was not removed",
				"user_id", signIn.Token.UserID, "error", err)
		}
	}
	return result, asNotAllowed(err)
}

// asNotAllowed converts ErrNotFound and ErrUserDisabled, which a UserSource returns, into
// ErrGitHubNotAllowed. It returns any other error as it is.
func asNotAllowed(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUserDisabled) {
		return ErrGitHubNotAllowed
	}
	return err
}

// refusalAsNotAllowed converts GitHub's refusal of a call into ErrGitHubNotAllowed, and logs it. A
// later attempt would fail in the same way, until the host, the person or the organization changes
// something at GitHub. It returns any other error as it is.
func (g *GitHubConnector) refusalAsNotAllowed(ctx context.Context, err error) error {
	if !githubapi.IsRefusal(err) {
		return err
	}
	g.cfg.Logger.WarnContext(ctx, "auth: a GitHub account is not allowed, because GitHub refused a call",
		"error", err)
	return fmt.Errorf("%w: %w", ErrGitHubNotAllowed, err)
}

// signInRecords reads the store and returns the records that a sign-in with the account must write.
// The isNew result reports whether the account is not linked yet.
func (g *GitHubConnector) signInRecords(
	ctx context.Context, profile GitHubProfile, grant githubapi.Grant, email func() (string, error),
) (signIn GitHubSignInWrite, isNew bool, err error) {
	signIn.Link = g.link(profile, g.cfg.Now())
	link, err := g.store.FindGitHubLink(ctx, profile.Account)
	switch {
	case err == nil:
		signIn.Link.UserID = link.UserID
		if g.tokens.users != nil { // refuses a disabled or a service user before anything is written
			_, err = g.tokens.users.activePerson(ctx, link.UserID)
		} else {
			signIn.Email, err = g.missingEmail(ctx, link.UserID, grant)
		}
	case !errors.Is(err, ErrNotFound):
		err = fmt.Errorf("auth: looking for a GitHub account: %w", err)
	case g.cfg.DisableSignUp:
		err = ErrGitHubNotAllowed
	default:
		isNew = true
		err = g.prepareNewUser(ctx, &signIn, profile, email)
	}
	if err != nil {
		return GitHubSignInWrite{}, false, err
	}
	signIn.GrantSuperUser = slices.Contains(g.cfg.SuperUsers, profile.Account.ID)
	signIn.SessionLimit = g.tokens.cfg.MaxSessions
	signIn.Session = g.tokens.newSession(ctx, IssueParams{UserID: signIn.Link.UserID, Method: MethodGitHub})
	var stored *GitHubToken
	if signIn.NewUser == nil {
		var have GitHubLink
		have, stored, err = g.store.FindGitHubConnection(ctx, signIn.Link.UserID, profile.Account.Host)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return GitHubSignInWrite{}, false, fmt.Errorf("auth: looking for a GitHub token: %w", err)
		case isNew && have.Account != profile.Account:
			return GitHubSignInWrite{}, false, ErrGitHubConflict // the host's user has another account
		default:
			isNew = false
		}
	}
	return signIn, isNew, g.chooseToken(&signIn, grant, stored)
}

// missingEmail returns the e-mail address for a user whom a GitHub sign-in created without one. For
// every other user, and if GitHub does not answer, it returns "". The user can have no address
// because the user had none at GitHub, or did not grant the scope, or because it was taken here.
func (g *GitHubConnector) missingEmail(
	ctx context.Context, userID string, grant githubapi.Grant,
) (string, error) {
	user, err := g.users.FindUser(ctx, userID)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", nil // SignInGitHub returns an error
	case err != nil:
		return "", fmt.Errorf("auth: signing in with GitHub: %w", err)
	case user.Email != "" || user.AdmittedAt.IsZero() || !grant.Covers("user:email"):
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout/4)
	defer cancel()
	email, err := g.api.Email(ctx, grant.AccessToken)
	if err != nil {
		g.cfg.Logger.WarnContext(ctx, "auth: a missing e-mail address could not be read from GitHub",
			"user_id", userID, "error", err)
	}
	return email, nil
}

// prepareNewUser sets the user of a sign-in whose account is not linked yet. If there is a
// UserSource, the host chooses the user. If there is none, prepareNewUser makes a new user.
func (g *GitHubConnector) prepareNewUser(
	ctx context.Context, signIn *GitHubSignInWrite, profile GitHubProfile, email func() (string, error),
) error {
	address, err := email()
	if err != nil {
		return err
	}
	if g.tokens.users != nil {
		signIn.Link.UserID, err = g.tokens.users.resolve(ctx, profile, address)
		return err
	}
	signIn.NewUser = &User{
		ID:         rand.Text(),
		Email:      address,
		IsActive:   true,
		CreatedAt:  signIn.Link.SeenAt,
		AdmittedAt: signIn.Link.SeenAt,
	}
	signIn.Link.UserID = signIn.NewUser.ID
	return nil
}

// link returns the record of a link to the account, without a user.
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

// chooseToken adds GitHub's new grant to the sign-in, which then stores the grant. If the stored
// token has scopes that the new grant lacks, chooseToken adds nothing. A sign-in must not take away
// scopes that the user granted when connecting the account.
func (g *GitHubConnector) chooseToken(
	signIn *GitHubSignInWrite, grant githubapi.Grant, have *GitHubToken,
) error {
	if have != nil {
		if !grant.Covers(have.Scopes) {
			return nil
		}
		signIn.TokenVersion = have.Version
	}
	token, err := g.seal(grant, signIn.Link.UserID, signIn.Link.Account)
	signIn.Token = &token
	return err
}

// checkAuthority returns an error if the authority may not make a change, or if g is nil.
func (g *GitHubConnector) checkAuthority(ctx context.Context, by Authority) error {
	if g == nil {
		return ErrGitHubNotConfigured
	}
	return g.tokens.checkAuthority(ctx, by)
}

// connectAuthority returns the authority that the flow needs to connect an account.
func connectAuthority(f oauthstate.Flow) Authority {
	return Authority{SessionID: f.SessionID, UserID: f.UserID, MaxAge: time.Duration(f.MaxAge) * time.Second}
}

// hasToken reports whether the record contains the access token.
func (g *GitHubConnector) hasToken(record GitHubToken, accessToken string) bool {
	opened, err := g.unseal(record)
	return err == nil && opened.grant.AccessToken == accessToken
}

// connect links the account to the user who began the flow, and stores the token. Then it revokes at
// GitHub the token that the new token has replaced: the user may connect again because that token leaked.
func (g *GitHubConnector) connect(
	ctx context.Context, flow oauthstate.Flow, profile GitHubProfile, grant githubapi.Grant,
) (*GitHubLink, error) {
	if g.tokens.users != nil {
		switch _, err := g.tokens.users.activePerson(ctx, flow.UserID); {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrUserDisabled):
			return nil, ErrGitHubState // a store that keeps users leads to the same error
		case err != nil:
			return nil, err
		}
	}
	for range maxAttempts {
		now := g.cfg.Now()
		link := g.link(profile, now)
		link.UserID = flow.UserID
		token, err := g.seal(grant, flow.UserID, profile.Account)
		if err != nil {
			return nil, err
		}
		connect := GitHubConnectWrite{Link: link, Token: token}
		_, stored, err := g.store.FindGitHubConnection(ctx, flow.UserID, profile.Account.Host)
		switch {
		case err == nil && stored != nil:
			connect.TokenVersion = stored.Version
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("auth: looking for a GitHub token: %w", err)
		}
		c := g.tokens.newChange(ctx, connectAuthority(flow),
			Event{Kind: eventkind.GitHubConnected, UserID: flow.UserID, GitHub: profile.Account})
		switch err := g.store.ConnectGitHub(ctx, c.write, connect); {
		case errors.Is(err, ErrChanged):
			continue
		case errors.Is(err, ErrExists):
			return nil, ErrGitHubConflict
		case errors.Is(err, ErrTokenRejected), errors.Is(err, ErrSessionTooOld):
			return nil, ErrGitHubState // the session that began the flow is revoked or too old
		case errors.Is(err, ErrInsufficientScope): // a limited session began the flow
			return nil, ErrGitHubNotAllowed
		case err != nil:
			return nil, fmt.Errorf("auth: connecting a GitHub account: %w", err)
		}
		c.recordEvent(ctx)
		if stored != nil && !g.hasToken(*stored, grant.AccessToken) {
			g.revokeRemovedToken(ctx, *stored)
		}
		return &link, nil
	}
	return nil, errors.New("auth: connecting a GitHub account: another request changed the record each time")
}

// Disconnect removes the user's GitHub token from the store, and then revokes it at GitHub if GitHub
// answers. The user can still sign in with GitHub. Disconnect returns ErrNotFound if there is no token.
// Without SuperUser, a session also gets ErrNotFound for the token of another user. Disconnect also returns
// the errors of an [Authority].
//
// If no sealing key decrypts the token, it cannot be revoked at GitHub. Disconnect then logs that,
// emits the event [eventkind.GitHubLost], and returns nil.
func (g *GitHubConnector) Disconnect(ctx context.Context, by Authority, userID string) error {
	if err := g.checkAuthority(ctx, by); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: eventkind.GitHubDisconnected, UserID: userID})
	token, err := g.store.DeleteGitHubToken(ctx, c.write, userID, g.cfg.Host, "")
	if err != nil {
		return fmt.Errorf("auth: disconnecting GitHub: %w", err)
	}
	c.event.GitHub = token.Account
	c.recordEvent(ctx)
	g.revokeRemovedToken(ctx, token)
	return nil
}

// Unlink does what Disconnect does, and also removes the link. A sign-in with the account is then refused
// until the user connects the account again or [GitHubConnector.Forget] is called. Unlink revokes the user's
// sessions that GitHub sign-ins opened, and those of devices that such a session may have approved. It
// returns ErrNotFound if no account is linked, and ErrLastWayIn if it is the user's only way to sign in.
func (g *GitHubConnector) Unlink(ctx context.Context, by Authority, userID string) error {
	if err := g.checkAuthority(ctx, by); err != nil {
		return err
	}
	if err := g.requireWayInWithoutGitHub(ctx, userID); err != nil {
		return fmt.Errorf("auth: unlinking GitHub: %w", err)
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: eventkind.GitHubUnlinked, UserID: userID})
	link, token, err := g.store.UnlinkGitHub(ctx, c.write, userID, g.cfg.Host)
	if err != nil {
		return fmt.Errorf("auth: unlinking GitHub: %w", err)
	}
	g.tokens.learnRevocations(ctx)
	c.event.GitHub = link.Account
	c.recordEvent(ctx)
	if token != nil {
		g.revokeRemovedToken(ctx, *token)
	}
	return nil
}

// requireWayInWithoutGitHub returns ErrLastWayIn if GitHubConfig.MembershipMaxAge is set and a
// GitHub sign-in created the user. The user's keys then work only while the account is allowed.
func (g *GitHubConnector) requireWayInWithoutGitHub(ctx context.Context, userID string) error {
	if g.cfg.MembershipMaxAge == 0 || g.users == nil {
		return nil
	}
	user, err := g.users.FindUser(ctx, userID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // UnlinkGitHub returns ErrNotFound
	case err == nil && !user.AdmittedAt.IsZero():
		err = ErrLastWayIn
	}
	return err
}

// Forget makes the store forget to which user an unlinked account was linked. The account can then sign in
// again, as a new user. GitHubConfig.SuperUsers works only one time for an account, even after Forget. The
// authority must be an authority of the host or have SuperUser. Forget returns ErrNotFound if the store
// remembers no user for the account, and ErrExists if the account is still linked. It also returns the
// errors of an [Authority].
func (g *GitHubConnector) Forget(ctx context.Context, by Authority, account GitHubAccount) error {
	if by.Host == "" && !by.SuperUser {
		return ErrSuperUserRequired
	}
	if err := cmp.Or(g.checkAuthority(ctx, by), account.validate()); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: eventkind.GitHubForgotten, GitHub: account})
	if err := g.store.ForgetGitHubAccount(ctx, c.write, account); err != nil {
		return fmt.Errorf("auth: forgetting a GitHub account: %w", err)
	}
	c.recordEvent(ctx)
	return nil
}
