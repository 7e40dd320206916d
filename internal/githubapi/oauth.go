package githubapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/text"
	"golang.org/x/oauth2"
)

const (
	maxTokenText = 1024
	maxExpiresIn = 366 * 24 * 60 * 60 // seconds
)

// tokenPath is the path of the call that returns tokens, below the URL of the pages.
const tokenPath = "/login/oauth/access_token"

// ErrBadCode means that GitHub does not know an authorization code, or that the code has already
// been used.
var ErrBadCode = errors.New("auth: GitHub does not know the authorization code")

// ErrAuthorize means that GitHub sent the browser back without a code and did not say that the
// person denied access.
var ErrAuthorize = errors.New("auth: GitHub sent the browser back with an error")

// config returns a new oauth2.Config for the app. The methods of an oauth2.Config write to it, so
// goroutines cannot share it.
func (a App) config(scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     a.ClientID,
		ClientSecret: a.ClientSecret(),
		RedirectURL:  a.CallbackURL,
		Scopes:       scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:   a.BaseURL + "/login/oauth/authorize",
			TokenURL:  a.BaseURL + tokenPath,
			AuthStyle: oauth2.AuthStyleInParams, // to detect the style, oauth2 would send the code twice
		},
	}
}

// AuthCodeURL returns the URL of the page at GitHub where a flow begins. The URL contains the given
// state and the hash of the PKCE verifier (RFC 7636), but not the verifier itself.
func (c *Client) AuthCodeURL(
	state, verifier string, scopes []string, options ...oauth2.AuthCodeOption,
) string {
	options = append(options, oauth2.S256ChallengeOption(verifier))
	return c.app.config(scopes...).AuthCodeURL(state, options...)
}

// Grant has the tokens that GitHub returns for an authorization code or a refresh token. The store
// keeps the JSON form of a Grant, sealed.
type Grant struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token,omitempty"` // empty if the token does not expire
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	Scopes       string    `json:"-"` // sorted, separated by single spaces
}

// Exchange redeems an authorization code. It sends the code only once, because GitHub accepts a
// code only once. It returns ErrBadCode if GitHub does not know the code.
func (c *Client) Exchange(ctx context.Context, code, verifier string) (Grant, error) {
	token, err := c.app.config().Exchange(c.oauthContext(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Grant{}, tokenError("exchanging an authorization code", err,
			"bad_verification_code", ErrBadCode)
	}
	return c.grant(token)
}

// Refresh redeems a refresh token. GitHub accepts each refresh token only once. If GitHub rejects
// the refresh token, Refresh returns ErrBadToken.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (Grant, error) {
	old := &oauth2.Token{RefreshToken: refreshToken}
	token, err := c.app.config().TokenSource(c.oauthContext(ctx), old).Token()
	if err != nil {
		return Grant{}, tokenError("refreshing a token", err, "bad_refresh_token", ErrBadToken)
	}
	return c.grant(token)
}

// Revoke revokes the grant at GitHub. The account's other tokens remain valid. Revoke returns nil if
// GitHub accepts neither the access token nor the refresh token.
//
// GitHub does not know an access token that has expired, but redeems its refresh token for six
// months. So if GitHub does not know the access token, Revoke redeems the refresh token, and revokes
// the new access token.
func (c *Client) Revoke(ctx context.Context, grant Grant) error {
	err := c.aboutToken(ctx, http.MethodDelete, grant.AccessToken, http.StatusNoContent)
	if isUnknownToken(err) && grant.RefreshToken != "" {
		grant, err = c.Refresh(ctx, grant.RefreshToken)
		if err == nil {
			err = c.aboutToken(ctx, http.MethodDelete, grant.AccessToken, http.StatusNoContent)
		}
	}
	if isUnknownToken(err) || errors.Is(err, ErrBadToken) {
		return nil
	}
	return err
}

// oauthContext returns a context that makes x/oauth2 use the HTTP client of c.
func (c *Client) oauthContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http)
}

// tokenError converts an error of x/oauth2 into an error without secrets. It does not copy the text
// of the given error, because this text contains GitHub's answer, which may contain a token. The
// new error names the failed action. But if the error code in GitHub's answer equals the given
// code, tokenError returns codeErr.
func tokenError(action string, err error, code string, codeErr error) error {
	var refused *oauth2.RetrieveError
	var transport *url.Error
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == code:
		return codeErr
	case errors.As(err, &refused) && slices.Contains(setupErrors, refused.ErrorCode):
		return &CallError{action, fmt.Errorf("GitHub says %s: check the OAuth app's settings",
			refused.ErrorCode)}
	case errors.As(err, &refused) && refused.Response != nil:
		return &CallError{action, fmt.Errorf("GitHub's answer to POST %s cannot be used (status %d)",
			tokenPath, refused.Response.StatusCode)}
	case errors.Is(err, context.Canceled):
		return &CallError{action, context.Canceled}
	case errors.Is(err, context.DeadlineExceeded):
		return &CallError{action, context.DeadlineExceeded}
	case errors.As(err, &transport):
		return &CallError{action, fmt.Errorf("POST %s: %w", tokenPath, transport.Err)}
	default:
		return &CallError{action, errors.New("GitHub's answer to POST " + tokenPath + " cannot be used")}
	}
}

// setupErrors are GitHub's codes for errors that the host can prevent by changing its
// configuration.
var setupErrors = []string{
	"incorrect_client_credentials", "redirect_uri_mismatch", "unsupported_grant_type", "unverified_user_email",
}

// authorizeErrors are the codes of GitHub, and of RFC 6749, section 4.1.2.1, with which GitHub can
// send the browser back although the person did not deny access.
var authorizeErrors = []string{
	"application_suspended", "redirect_uri_mismatch", "invalid_request", "invalid_scope",
	"unauthorized_client", "unsupported_response_type", "server_error", "temporarily_unavailable",
}

// AuthorizeError returns an error that wraps ErrAuthorize. The new error names the code with which
// GitHub sent the browser back, but only if the code is known: anyone can put any text into the URL.
func AuthorizeError(code string) error {
	if !slices.Contains(authorizeErrors, code) {
		code = "unknown error"
	}
	return fmt.Errorf("%w: %s", ErrAuthorize, code)
}

// grant converts a token of x/oauth2 into a Grant. It checks what x/oauth2 does not check: the
// type, alphabet and lifetime of the token, and its scopes.
func (c *Client) grant(token *oauth2.Token) (Grant, error) {
	g := Grant{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken}
	scopes, isText := token.Extra("scope").(string)
	g.Scopes = normalScopes(scopes)
	life, err := expiresIn(token.Extra("expires_in"))
	switch {
	case err != nil,
		!isText && token.Extra("scope") != nil,
		!strings.EqualFold(token.TokenType, "bearer"),
		!IsTokenText(g.AccessToken),
		g.RefreshToken != "" && !IsTokenText(g.RefreshToken),
		text.Flaw(g.Scopes, limits.GitHubText) != "":
		return Grant{}, &CallError{"GitHub's answer has no token that can be used", nil}
	}
	if life > 0 {
		g.ExpiresAt = c.now().Add(life)
	}
	return g, nil
}

// expiresIn returns the lifetime of a token. The parameter field is the value of expires_in in
// GitHub's answer. If field is nil, the answer has no expires_in, and the lifetime is zero.
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

// IsTokenText reports whether s has 1 to 1024 characters of the alphabet of tokens and codes (RFC
// 6750, section 2.1). Such text needs no quoting in a header.
func IsTokenText(s string) bool {
	return s != "" && len(s) <= maxTokenText && !strings.ContainsFunc(s, func(r rune) bool {
		return r > '~' || !canonical.IsAlphanumeric(byte(r)) && !strings.ContainsRune("_-.~+/=", r)
	})
}

// normalScopes returns the scopes in the list, sorted and separated by single spaces. GitHub
// separates scopes by commas.
func normalScopes(list string) string {
	scopes := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

// Covers reports whether the token may do all that the scopes in the list allow, as far as the token tells.
// Both lists have the form of Grant.Scopes. As at GitHub, a scope can include others: "repo" includes
// "repo:status", and "user" includes "user:email" and "read:user".
//
// A token of a GitHub App has no scopes. The permissions of the app decide, which the token does not tell, so
// Covers returns true.
func (g Grant) Covers(scopes string) bool {
	if strings.HasPrefix(g.AccessToken, githubAppPrefix) {
		return true
	}
	has := strings.Fields(g.Scopes)
	for _, scope := range strings.Fields(scopes) {
		parent, _, _ := strings.Cut(strings.TrimPrefix(scope, "read:"), ":")
		if !slices.Contains(has, scope) && !slices.Contains(has, parent) {
			return false
		}
	}
	return true
}

// githubAppPrefix begins each token that a GitHub App gets for a user. The tokens of an OAuth app begin with
// gho_.
const githubAppPrefix = "ghu_"
