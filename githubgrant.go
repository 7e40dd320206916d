package auth

import (
	"context"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/canonical"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	maxTokenText = 1024
	maxExpiresIn = 366 * 24 * 60 * 60 // seconds
)

// errGitHubCode means that GitHub does not know an authorization code.
var errGitHubCode = errors.New("auth: GitHub does not know the authorization code")

// config returns x/oauth2's view of the app, a new one each time: using a Config
// writes to it, so it can be neither shared nor copied while it is in use.
func (a oauthApp) config(scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     a.clientID,
		ClientSecret: a.clientSecret.Reveal(),
		RedirectURL:  a.callbackURL,
		Scopes:       scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:   a.baseURL + "/login/oauth/authorize",
			TokenURL:  a.baseURL + "/login/oauth/access_token",
			AuthStyle: oauth2.AuthStyleInParams, // detecting it would post the code twice
		},
	}
}

// githubGrant is what GitHub gave for an authorization code or a refresh token.
type githubGrant struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token,omitempty"` // empty if the token does not expire
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	scopes       string    // sorted, separated by spaces
}

// exchange redeems an authorization code. It is never tried twice.
func (a *githubAPI) exchange(ctx context.Context, code, verifier string) (githubGrant, error) {
	token, err := a.app.config().Exchange(a.context(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return githubGrant{}, tokenError("exchanging an authorization code", err, "bad_verification_code", errGitHubCode)
	}
	return a.grant(token)
}

// refresh redeems a refresh token, which dies with it.
func (a *githubAPI) refresh(ctx context.Context, refreshToken string) (githubGrant, error) {
	token, err := a.app.config().TokenSource(a.context(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return githubGrant{}, tokenError("refreshing a token", err, "bad_refresh_token", errGitHubToken)
	}
	return a.grant(token)
}

func (a *githubAPI) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.client)
}

// tokenError keeps of the error only what may be shown: its text has the answer
// in it, and the answer may have a token.
func tokenError(doing string, err error, code string, meaning error) error {
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == code:
		return meaning
	case errors.As(err, &refused) && slices.Contains(setupErrors, refused.ErrorCode):
		return fmt.Errorf("auth: %s: GitHub says %s: check the OAuth app's settings", doing, refused.ErrorCode)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("auth: %s: %w", doing, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("auth: %s: %w", doing, context.DeadlineExceeded)
	default:
		return fmt.Errorf("auth: %s: GitHub did not answer as it should", doing)
	}
}

// setupErrors are the codes with which GitHub says that the host's own
// configuration is wrong.
var setupErrors = []string{"incorrect_client_credentials", "redirect_uri_mismatch", "unsupported_grant_type", "unverified_user_email"}

// grant checks what x/oauth2 takes as it comes: the type, the alphabet, the
// lifetime.
func (a *githubAPI) grant(token *oauth2.Token) (githubGrant, error) {
	g := githubGrant{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken}
	scopes, isText := token.Extra("scope").(string)
	g.scopes = normalScopes(scopes)
	life, err := expiresIn(token.Extra("expires_in"))
	switch {
	case err != nil,
		!isText && token.Extra("scope") != nil,
		!strings.EqualFold(token.TokenType, "bearer"),
		!isTokenText(g.AccessToken),
		g.RefreshToken != "" && !isTokenText(g.RefreshToken),
		checkText("scopes", g.scopes, maxGitHubTextLength) != nil:
		return githubGrant{}, errors.New("auth: GitHub's token reply is not as it should be")
	}
	if life > 0 {
		g.ExpiresAt = a.now().Add(life)
	}
	return g, nil
}

// expiresIn returns how long a token lives, zero if it does not say.
func expiresIn(field any) (time.Duration, error) {
	if field == nil {
		return 0, nil
	}
	seconds, ok := field.(float64)
	if !ok || seconds != float64(int64(seconds)) || seconds < 1 || seconds > maxExpiresIn {
		return 0, errors.New("auth: expires_in is out of range")
	}
	return time.Duration(seconds) * time.Second, nil
}

func isTokenText(text string) bool {
	return text != "" && len(text) <= maxTokenText && !strings.ContainsFunc(text, func(r rune) bool {
		return r > 'z' || !canonical.IsAlphanumeric(byte(r)) && !strings.ContainsRune("_-.~+/=", r)
	})
}

// normalScopes sorts a list of scopes, which GitHub separates by commas.
func normalScopes(list string) string {
	scopes := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

// covers reports whether a list of scopes has all of another's, as GitHub counts
// them: "repo" has "repo:status" in it, "user" has "user:email".
func covers(wide, narrow string) bool {
	has := strings.Fields(wide)
	for _, scope := range strings.Fields(narrow) {
		parent, _, _ := strings.Cut(strings.TrimPrefix(scope, "read:"), ":")
		if !slices.Contains(has, scope) && !slices.Contains(has, parent) {
			return false
		}
	}
	return true
}
