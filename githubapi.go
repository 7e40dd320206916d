package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/callback"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
	"github.com/sallyport-go/auth/internal/weburl"
)

// What GitHub's answers may be at the most.
const (
	maxGitHubBody  = 1 << 20
	maxGitHubPages = 50 // of 100 organizations or teams
)

// errGitHubToken means that GitHub does not accept a token any more, which is no failure of
// GitHub's.
var errGitHubToken = errors.New("auth: GitHub does not accept the token any more")

// oauthApp is the OAuth app as it is registered at GitHub.
type oauthApp struct {
	clientID     string
	clientSecret Secret
	callbackURL  string
	baseURL      string
}

// githubAPI makes the calls to GitHub that sign-in and connecting need. Nothing
// that GitHub says is in its errors, which may be logged.
type githubAPI struct {
	app    oauthApp
	apiURL string // without a slash at the end
	client *http.Client
	now    func() time.Time
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
	if !ok || id <= 0 || checkID("login", login, maxGitHubTextLength) != nil {
		return GitHubProfile{}, errors.New("auth: GitHub's answer for /user has no usable id or login")
	}
	return GitHubProfile{
		Account:   GitHubAccount{Host: host, ID: id},
		Login:     login,
		Name:      textOrNone(name),
		AvatarURL: httpsOrNone(textOrNone(avatar)),
	}, nil
}

// httpsOrNone drops a URL that a host's page must not show or follow, such as javascript:.
func httpsOrNone(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !weburl.IsSecure(u) {
		return ""
	}
	return text
}

// textOrNone drops text that no store may keep and nobody needs.
func textOrNone(text string) string {
	if checkText("", text, maxGitHubTextLength) != nil {
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
	addresses, err := listOf(body, []string{"email", "primary", "verified"})
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		text, _ := address.Value(0).Text()
		primary, _ := address.Value(1).Bool()
		verified, _ := address.Value(2).Bool()
		if primary && verified && checkEmail(text) == nil && checkText("", text, maxEmailLength) == nil {
			return text, nil
		}
	}
	return "", nil
}

// listOf reads a list of objects as strictly as strictjson reads one.
func listOf(body []byte, names []string) ([]strictjson.Object, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil || items == nil {
		return nil, errors.New("auth: GitHub's list is not one")
	}
	objects := make([]strictjson.Object, len(items))
	for i, item := range items {
		var err error
		if objects[i], err = strictjson.Parse(item, names); err != nil {
			return nil, fmt.Errorf("auth: GitHub's list: %w", err)
		}
	}
	return objects, nil
}

// organizations returns the ids of the organizations of which the user is an
// active member.
func (a *githubAPI) organizations(ctx context.Context, token string) ([]int64, error) {
	names := []string{"state", "organization"}
	return a.pages(ctx, token, "/user/memberships/orgs?state=active", names, func(membership strictjson.Object) (int64, bool) {
		state, _ := membership.Value(0).Text()
		organization, err := strictjson.Parse(membership.Value(1).Raw(), []string{"id"})
		id, ok := organization.Value(0).Int()
		return id, ok && err == nil && state == "active"
	})
}

// teams returns the ids of the user's teams.
func (a *githubAPI) teams(ctx context.Context, token string) ([]int64, error) {
	return a.pages(ctx, token, "/user/teams?", []string{"id"}, func(team strictjson.Object) (int64, bool) {
		return team.Value(0).Int()
	})
}

// pages reads a list to its end, by page number: a Link header could lead to
// another host. It returns the ids of the items that have one.
func (a *githubAPI) pages(
	ctx context.Context, token, path string, names []string, id func(strictjson.Object) (int64, bool),
) (ids []int64, err error) {
	const perPage = 100
	for page := 1; page <= maxGitHubPages; page++ {
		body, err := a.get(ctx, path+"&per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), token)
		if err != nil {
			return nil, err
		}
		items, err := listOf(body, names)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if n, ok := id(item); ok && n > 0 {
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
	path := "/applications/" + url.PathEscape(a.app.clientID) + "/token"
	r, err := http.NewRequestWithContext(ctx, method, a.apiURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("auth: making a call to GitHub: %w", err)
	}
	r.SetBasicAuth(a.app.clientID, a.app.clientSecret.Reveal())
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

func (a *githubAPI) do(r *http.Request, want int) (body []byte, err error) {
	defer callback.Recover("GitHubConfig.HTTPClient", func(failure error) { body, err = nil, failure })
	response, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("auth: calling GitHub: %w", withoutURL(err))
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
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

func (t githubTransport) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer callback.Recover("GitHubConfig.HTTPClient", func(failure error) { response, err = nil, failure })
	r = r.Clone(r.Context())
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Header.Set("User-Agent", "sallyport-auth")
	response, err = t.base.RoundTrip(r)
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
