package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
	"golang.org/x/oauth2"
)

// What GitHub's answers may be at the most.
const (
	maxGitHubBody  = 1 << 20
	maxGitHubPages = 50 // of 100 organisations or teams
	maxTokenText   = 1024
	maxExpiresIn   = 366 * 24 * 60 * 60 // seconds
)

// Errors of GitHub's that are not a failure of GitHub.
var (
	errGitHubCode  = errors.New("auth: GitHub does not know the authorization code")
	errGitHubToken = errors.New("auth: GitHub does not accept the token any more")
)

// githubAPI makes the calls to GitHub that sign-in and connecting need. Nothing
// that GitHub says is in its errors, which may be logged.
type githubAPI struct {
	oauth  oauth2.Config
	apiURL string // without a slash at the end
	client *http.Client
	now    func() time.Time
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
	token, err := a.oauth.Exchange(a.context(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return githubGrant{}, tokenError("exchanging an authorization code", err, "bad_verification_code", errGitHubCode)
	}
	return a.grant(token)
}

// refresh redeems a refresh token, which dies with it.
func (a *githubAPI) refresh(ctx context.Context, refreshToken string) (githubGrant, error) {
	token, err := a.oauth.TokenSource(a.context(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
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
	scopes, _ := token.Extra("scope").(string)
	g.scopes = normalScopes(scopes)
	life, err := expiresIn(token.Extra("expires_in"))
	switch {
	case err != nil,
		!strings.EqualFold(token.TokenType, "bearer"),
		!isTokenText(g.AccessToken),
		g.RefreshToken != "" && !isTokenText(g.RefreshToken),
		checkText("scopes", g.scopes, MaxGitHubTextLength) != nil:
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
		return r > 'z' || !isAlphanumeric(byte(r)) && !strings.ContainsRune("_-.~+/=", r)
	})
}

// normalScopes sorts a list of scopes, which GitHub separates by commas.
func normalScopes(list string) string {
	scopes := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

// GitHubProfile is what GitHub says of an account.
type GitHubProfile struct {
	Account   GitHubAccount
	Login     string
	Name      string // may be empty
	AvatarURL string // may be empty
}

// profile asks whose the token is. An id that is not exactly a positive integer
// is an error: no user is made of a guess.
func (a *githubAPI) profile(ctx context.Context, host, token string) (GitHubProfile, error) {
	body, err := a.get(ctx, "/user", token)
	if err != nil {
		return GitHubProfile{}, err
	}
	object, err := strictjson.Parse(body, []string{"id", "login", "name", "avatar_url"})
	if err != nil {
		return GitHubProfile{}, fmt.Errorf("auth: GitHub's answer for /user: %w", err)
	}
	id, ok := object.Value(0).Int()
	login, _ := object.Value(1).Text()
	name, _ := object.Value(2).Text()
	avatar, _ := object.Value(3).Text()
	if !ok || id <= 0 || checkID("login", login, MaxGitHubTextLength) != nil {
		return GitHubProfile{}, errors.New("auth: GitHub's answer for /user has no usable id or login")
	}
	return GitHubProfile{
		Account:   GitHubAccount{Host: host, ID: id},
		Login:     login,
		Name:      textOrNone(name),
		AvatarURL: textOrNone(avatar),
	}, nil
}

// textOrNone drops text that no store may keep and nobody needs.
func textOrNone(text string) string {
	if checkText("", text, MaxGitHubTextLength) != nil {
		return ""
	}
	return text
}

// email returns the primary address if it is verified, and else none. It is
// information: no user is ever found by it.
func (a *githubAPI) email(ctx context.Context, token string) (string, error) {
	body, err := a.get(ctx, "/user/emails?per_page=100", token)
	var status *githubStatusError
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusForbidden) && !status.limited {
		return "", nil // the scope was not granted
	}
	if err != nil {
		return "", err
	}
	var addresses []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := json.Unmarshal(body, &addresses); err != nil {
		return "", errors.New("auth: GitHub's answer for /user/emails is not as it should be")
	}
	for _, address := range addresses {
		if address.Primary && address.Verified && checkEmail(address.Email) == nil &&
			checkText("", address.Email, MaxEmailLength) == nil {
			return address.Email, nil
		}
	}
	return "", nil
}

// organizations returns the ids of the organisations of which the user is an
// active member.
func (a *githubAPI) organizations(ctx context.Context, token string) ([]int64, error) {
	type membership struct {
		State        string `json:"state"`
		Organization struct {
			ID int64 `json:"id"`
		} `json:"organization"`
	}
	return pages(ctx, a, token, "/user/memberships/orgs?state=active", func(m membership) (int64, bool) {
		return m.Organization.ID, m.State == "active" && m.Organization.ID > 0
	})
}

// teams returns the ids of the user's teams.
func (a *githubAPI) teams(ctx context.Context, token string) ([]int64, error) {
	type team struct {
		ID int64 `json:"id"`
	}
	return pages(ctx, a, token, "/user/teams?", func(t team) (int64, bool) { return t.ID, t.ID > 0 })
}

// pages reads a list to its end, by page number: a Link header could lead to
// another host.
func pages[T any](ctx context.Context, a *githubAPI, token, path string, id func(T) (int64, bool)) (ids []int64, err error) {
	const perPage = 100
	for page := 1; page <= maxGitHubPages; page++ {
		body, err := a.get(ctx, path+"&per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), token)
		if err != nil {
			return nil, err
		}
		var items []T
		if err := json.Unmarshal(body, &items); err != nil || items == nil {
			return nil, errors.New("auth: GitHub's list is not as it should be")
		}
		for _, item := range items {
			if n, ok := id(item); ok {
				ids = append(ids, n)
			}
		}
		if len(items) < perPage {
			return ids, nil
		}
	}
	return nil, errors.New("auth: GitHub's list does not end")
}

// revoke makes GitHub forget one token; the user's other tokens stay.
func (a *githubAPI) revoke(ctx context.Context, token string) error {
	_, err := a.application(ctx, http.MethodDelete, token, http.StatusNoContent)
	var status *githubStatusError
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusUnprocessableEntity) {
		return nil // it was dead already
	}
	return err
}

// valid asks whether GitHub still accepts the token.
func (a *githubAPI) valid(ctx context.Context, token string) (bool, error) {
	_, err := a.application(ctx, http.MethodPost, token, http.StatusOK)
	var status *githubStatusError
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusUnprocessableEntity) {
		return false, nil
	}
	return err == nil, err
}

// application makes a call about a token, as the OAuth app.
func (a *githubAPI) application(ctx context.Context, method, token string, want int) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		return nil, fmt.Errorf("auth: encoding a call to GitHub: %w", err)
	}
	path := "/applications/" + url.PathEscape(a.oauth.ClientID) + "/token"
	r, err := http.NewRequestWithContext(ctx, method, a.apiURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("auth: making a call to GitHub: %w", err)
	}
	r.SetBasicAuth(a.oauth.ClientID, a.oauth.ClientSecret)
	r.Header.Set("Content-Type", "application/json")
	return a.do(r, want)
}

func (a *githubAPI) get(ctx context.Context, path, token string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.apiURL+path, nil)
	if err != nil {
		return nil, fmt.Errorf("auth: making a call to GitHub: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return a.do(r, http.StatusOK)
}

// githubStatusError is an answer with another status than the one that was
// wanted.
type githubStatusError struct {
	status     int
	limited    bool          // by the rate limit
	retryAfter time.Duration // zero if GitHub does not say
}

func (e *githubStatusError) Error() string {
	return "auth: GitHub answered with status " + strconv.Itoa(e.status)
}

func (a *githubAPI) do(r *http.Request, want int) ([]byte, error) {
	response, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("auth: calling GitHub: %w", withoutURL(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: reading GitHub's answer: %w", err)
	case response.StatusCode == http.StatusUnauthorized && r.Header.Get("Authorization") != "" && want == http.StatusOK && r.Method == http.MethodGet:
		return nil, errGitHubToken
	case response.StatusCode != want:
		return nil, statusError(response, a.now())
	}
	return body, nil
}

// withoutURL drops the URL that net/http puts into its errors.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// statusError reads what GitHub says of its rate limits, within reason.
func statusError(response *http.Response, now time.Time) *githubStatusError {
	const longest = time.Hour
	e := &githubStatusError{status: response.StatusCode}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	switch {
	case err == nil && seconds > 0:
		e.limited, e.retryAfter = true, time.Duration(min(seconds, int(longest/time.Second)))*time.Second
	case response.Header.Get("X-Ratelimit-Remaining") == "0":
		e.limited = true
		if reset, err := strconv.ParseInt(response.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			e.retryAfter = min(max(time.Unix(reset, 0).Sub(now), 0), longest)
		}
	case response.StatusCode == http.StatusTooManyRequests:
		e.limited = true
	}
	return e
}

// githubTransport is the host's transport with what every call to GitHub needs.
type githubTransport struct {
	base http.RoundTripper
}

func (t githubTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Header.Set("User-Agent", "sallyport-auth")
	response, err := t.base.RoundTrip(r)
	if err == nil {
		response.Body = &cappedBody{ReadCloser: response.Body, left: maxGitHubBody}
	}
	return response, err
}

// cappedBody is an error, not an end, where it is longer than it may be.
type cappedBody struct {
	io.ReadCloser
	left int64
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("GitHub's answer is too long")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
