// Package githubapi makes the few calls to GitHub that are needed to sign in and to connect an
// account. The calls do the following:
//
//   - find out which account a token belongs to
//   - read the e-mail addresses, organizations and teams of the account
//   - check whether GitHub still accepts a token, or revoke a token
//   - exchange an authorization code or a refresh token for new tokens (OAuth, RFC 6749)
//
// The package reads GitHub's answers strictly. The length of an answer is limited, and no redirect
// is followed. If a field has another type, length or alphabet than GitHub documents, the package
// returns an error or treats the field as absent. Errors contain no secrets, because errors are
// logged. From GitHub's answer, an error takes only the status and a few known error codes. The
// package decides nothing about users.
package githubapi

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

	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/strictjson"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/weburl"
)

const (
	perPage  = 100
	maxPages = 50 // maximum number of pages of organizations or teams
)

// ErrBadToken means that GitHub does not accept a token any more. If a call to GitHub fails for
// another reason, the error is not ErrBadToken.
var ErrBadToken = errors.New("auth: GitHub does not accept the token any more")

// StatusError means that GitHub answered with an unexpected status, or that a list is incomplete.
type StatusError struct {
	Status     int
	Endpoint   string        // method and path of the call, such as "GET /user"
	Limited    bool          // whether GitHub's rate limit was the reason
	RetryAfter time.Duration // how long to wait, at most an hour; zero if GitHub does not say
	Refused    bool          // whether GitHub keeps the answer from this account or this app
	SSO        string        // "required" or "partial-results" from the header X-GitHub-SSO, or empty
}

// Error returns a message with the status and the endpoint.
func (e *StatusError) Error() string {
	message := "auth: GitHub answered with status " + strconv.Itoa(e.Status) + " to " + e.Endpoint
	if e.SSO != "" {
		message += ", X-GitHub-SSO: " + e.SSO
	}
	return message
}

// IsRefusal reports whether err means that GitHub keeps an answer from the account or from the app.
// The reason is not the rate limit. Examples of reasons are a suspended account, an organization
// that restricts apps, and an organization that requires single sign-on.
func IsRefusal(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Refused
}

// App is an OAuth app or a GitHub App, with the URLs of the GitHub host at which the app is registered.
type App struct {
	ClientID     string
	ClientSecret func() string // a function, so that nothing prints the secret with the App
	CallbackURL  string
	BaseURL      string // of the pages, without a slash at the end
	APIURL       string // of the REST API, without a slash at the end
}

// APIURL returns the URL of the REST API of the GitHub host whose pages are at base.
func APIURL(base *url.URL) string {
	switch host := text.FoldASCII(base.Host); {
	case host == "github.com":
		return "https://api.github.com"
	case strings.HasSuffix(host, ".ghe.com"):
		return base.Scheme + "://api." + host
	default:
		return strings.TrimSuffix(base.String(), "/") + "/api/v3"
	}
}

// Client makes calls to GitHub for an [App]. It is safe for concurrent use. It sets no deadlines:
// the context of each call limits the duration of the call.
type Client struct {
	app  App
	http *http.Client
	now  func() time.Time
}

// New returns a Client that sends its requests through the transport. A nil transport means
// http.DefaultTransport.
func New(app App, transport http.RoundTripper, now func() time.Time) *Client {
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &Client{
		app: app,
		http: &http.Client{
			Transport: boundedTransport{transport},
			// A redirect could send the client secret to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: now,
	}
}

// Profile has what GitHub says about an account. Name and AvatarURL may be empty.
type Profile struct {
	ID        int64 // positive
	Login     string
	Name      string
	AvatarURL string // https, or http on loopback
}

// Profile returns the profile of the account that the token belongs to. It returns ErrBadToken if
// GitHub does not accept the token. It returns another error if the id is not a positive integer,
// because a rounded id could be the id of another account.
func (c *Client) Profile(ctx context.Context, token string) (Profile, error) {
	body, _, err := c.get(ctx, "/user", token)
	if err != nil {
		return Profile{}, err
	}
	object, err := strictjson.Parse(body, []string{"id", "login", "name", "avatar_url"})
	if err != nil {
		return Profile{}, &CallError{"GitHub's answer for /user", err}
	}
	id, ok := object.Value(0).Int()
	login, _ := object.Value(1).Text()
	name, _ := object.Value(2).Text()
	avatar, _ := object.Value(3).Text()
	if !ok || id <= 0 || login == "" || text.Flaw(login, limits.GitHubText) != "" {
		return Profile{}, &CallError{"GitHub's answer for /user has no usable id or login", nil}
	}
	return Profile{ID: id, Login: login, Name: textOrNone(name), AvatarURL: urlOrNone(avatar)}, nil
}

// textOrNone returns s, or "" if s breaks a rule of [text.Flaw]. It returns no error, because a
// profile is useful even without this text.
func textOrNone(s string) string {
	if text.Flaw(s, limits.GitHubText) != "" {
		return ""
	}
	return s
}

// urlOrNone returns s, or "" if s is not a URL that a page can safely show or follow. For example,
// a javascript: URL is not safe.
func urlOrNone(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !weburl.IsSecure(u) {
		return ""
	}
	return textOrNone(s)
}

// Email returns the account's primary e-mail address if GitHub has verified it. If there is no such
// address, or if the scopes of the token do not include e-mail addresses, Email returns "".
func (c *Client) Email(ctx context.Context, token string) (string, error) {
	body, _, err := c.get(ctx, "/user/emails?per_page=100", token)
	if hasStatus(err, http.StatusNotFound) || IsRefusal(err) {
		return "", nil // the scope was not granted
	}
	if err != nil {
		return "", err
	}
	addresses, err := parseList(body, []string{"email", "primary", "verified"})
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		email, _ := address.Value(0).Text()
		primary, _ := address.Value(1).Bool()
		verified, _ := address.Value(2).Bool()
		if primary && verified && text.IsEmail(email) && text.Flaw(email, limits.Email) == "" {
			return email, nil
		}
	}
	return "", nil
}

// Organizations returns the ids of the organizations of which the account is an active member. If
// GitHub leaves out organizations that require single sign-on, Organizations returns the other ids
// and an error for which [IsRefusal] is true.
func (c *Client) Organizations(ctx context.Context, token string) ([]int64, error) {
	return c.pages(ctx, token, "/user/memberships/orgs", "state=active&",
		[]string{"state", "organization"}, activeOrganization)
}

// activeOrganization returns the id of a membership's organization. ok is false if the membership
// is not active or has no id.
func activeOrganization(membership strictjson.Object) (id int64, ok bool) {
	state, _ := membership.Value(0).Text()
	organization, err := strictjson.Parse(membership.Value(1).Raw(), []string{"id"})
	id, ok = organization.Value(0).Int()
	return id, ok && err == nil && state == "active"
}

// Teams returns the ids of the teams of which the account is a member. If GitHub leaves out teams,
// Teams returns an error as Organizations does.
func (c *Client) Teams(ctx context.Context, token string) ([]int64, error) {
	ownID := func(team strictjson.Object) (int64, bool) { return team.Value(0).Int() }
	return c.pages(ctx, token, "/user/teams", "", []string{"id"}, ownID)
}

// pages reads all pages of a list, and returns the ids of the items. It calls the function idOf for
// each item, and skips items without an id. Each page is requested by its number. The Link header
// is not followed, because the header could lead to another server.
func (c *Client) pages(
	ctx context.Context, token, path, filter string, names []string,
	idOf func(strictjson.Object) (int64, bool),
) (ids []int64, err error) {
	var incomplete error
	for page := 1; page <= maxPages; page++ {
		query := "?" + filter + "per_page=" + strconv.Itoa(perPage) + "&page=" + strconv.Itoa(page)
		body, header, err := c.get(ctx, path+query, token)
		if err != nil {
			return nil, err
		}
		if ssoOf(header) == ssoPartial {
			incomplete = &StatusError{Status: http.StatusOK, Endpoint: "GET " + path, Refused: true,
				SSO: ssoPartial}
		}
		items, err := parseList(body, names)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if n, ok := idOf(item); ok && n > 0 {
				ids = append(ids, n)
			}
		}
		if len(items) < perPage {
			return ids, incomplete
		}
	}
	return nil, &CallError{"GitHub's list has too many pages", nil}
}

// parseList parses a list of objects. It is as strict as strictjson is for one object.
func parseList(body []byte, names []string) ([]strictjson.Object, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil || items == nil {
		return nil, &CallError{"GitHub's answer is not a list", nil}
	}
	objects := make([]strictjson.Object, len(items))
	for i, item := range items {
		var err error
		if objects[i], err = strictjson.Parse(item, names); err != nil {
			return nil, &CallError{"GitHub's list", err}
		}
	}
	return objects, nil
}

// IsValid reports whether GitHub still accepts the token.
func (c *Client) IsValid(ctx context.Context, token string) (bool, error) {
	err := c.aboutToken(ctx, http.MethodPost, token, http.StatusOK)
	if isUnknownToken(err) {
		return false, nil
	}
	return err == nil, err
}

// isUnknownToken reports whether err says that GitHub does not know the token of a call. Either the
// token was revoked, or it never existed.
func isUnknownToken(err error) bool {
	return hasStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity)
}

// aboutToken makes a call about a token, authenticated as the app. It returns a StatusError if the
// status of the answer is not the parameter want.
func (c *Client) aboutToken(ctx context.Context, method, token string, want int) error {
	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		return fmt.Errorf("auth: encoding a call to GitHub: %w", err)
	}
	path := "/applications/" + url.PathEscape(c.app.ClientID) + "/token"
	r, err := http.NewRequestWithContext(ctx, method, c.app.APIURL+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("auth: making a call to GitHub: %w", err)
	}
	r.SetBasicAuth(c.app.ClientID, c.app.ClientSecret())
	r.Header.Set("Content-Type", "application/json")
	_, _, err = c.do(r, want)
	return err
}

// get makes a call that is authenticated with the token. It returns ErrBadToken if GitHub does not
// accept the token.
func (c *Client) get(ctx context.Context, path, token string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.app.APIURL+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("auth: making a call to GitHub: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	body, header, err := c.do(r, http.StatusOK)
	if hasStatus(err, http.StatusUnauthorized) {
		return nil, nil, ErrBadToken
	}
	return body, header, err
}

// do sends the request and returns the body of the answer. It returns a StatusError if the status
// of the answer is not the parameter want.
func (c *Client) do(r *http.Request, want int) ([]byte, http.Header, error) {
	path, _, _ := strings.Cut(strings.TrimPrefix(r.URL.String(), c.app.APIURL), "?")
	endpoint := r.Method + " " + path
	response, err := c.http.Do(r)
	if err != nil {
		return nil, nil, &CallError{"calling GitHub: " + endpoint, withoutURL(err)}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, nil, &CallError{"reading GitHub's answer to " + endpoint, err}
	case response.StatusCode != want:
		return nil, nil, newStatusError(endpoint, response, body, c.now())
	}
	return body, response.Header, nil
}

const ssoPartial = "partial-results"

// ssoOf returns the first word of the header X-GitHub-SSO, if GitHub documents the word. It returns
// nothing else of the header, because the header can have a URL with a one-time code.
func ssoOf(header http.Header) string {
	word, _, _ := strings.Cut(header.Get("X-GitHub-SSO"), ";")
	if word == ssoPartial || word == "required" {
		return word
	}
	return ""
}

// withoutURL returns err without the URL that net/http puts into its errors.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// newStatusError returns the error for an answer with an unexpected status. From the status, the
// headers and GitHub's message, it finds out whether GitHub's rate limit was the reason. It also
// reads from the headers how long to wait, and limits the wait to an hour.
func newStatusError(endpoint string, response *http.Response, body []byte, now time.Time) *StatusError {
	const longest = time.Hour
	e := &StatusError{Status: response.StatusCode, Endpoint: endpoint, SSO: ssoOf(response.Header)}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	switch {
	case err == nil && seconds > 0:
		e.Limited, e.RetryAfter = true, time.Duration(min(seconds, int(longest/time.Second)))*time.Second
	case response.Header.Get("X-Ratelimit-Remaining") == "0":
		e.Limited = true
		if reset, err := strconv.ParseInt(response.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			e.RetryAfter = min(max(time.Unix(reset, 0).Sub(now), 0), longest)
		}
	case response.StatusCode == http.StatusTooManyRequests:
		e.Limited = true
	case response.StatusCode == http.StatusForbidden:
		e.Limited, e.Refused = readForbidden(body)
	}
	return e
}

// readForbidden reads the body of a 403. For some rate limits, GitHub sends a 403 that only its
// message distinguishes from a refusal. If the body is not in GitHub's format, both results are
// false: the answer may come from a proxy, and says nothing about the account.
func readForbidden(body []byte) (limited, refused bool) {
	object, err := strictjson.Parse(body, []string{"message"})
	if err != nil {
		return false, false
	}
	message, _ := object.Value(0).Text()
	message = text.FoldASCII(message)
	limited = strings.Contains(message, "rate limit") || strings.Contains(message, "abuse detection")
	return limited, message != "" && !limited
}

// hasStatus reports whether err is a StatusError with one of the statuses.
func hasStatus(err error, statuses ...int) bool {
	var e *StatusError
	return errors.As(err, &e) && slices.Contains(statuses, e.Status)
}
