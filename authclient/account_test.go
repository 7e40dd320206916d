package authclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

// nil2 returns a source that fails.
func nil2(err error) func(context.Context) (auth.KeyPair, error) {
	return func(context.Context) (auth.KeyPair, error) { return auth.KeyPair{}, err }
}

func TestTheCallsOfAnAccount(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t), t.Context()
	user, err := f.client.CurrentUser(ctx)
	require.NoError(t, err)
	require.Equal(t, "root", user.Username)
	require.True(t, user.IsSuperUser && user.IsActive)
	require.False(t, user.CreatedAt.IsZero())

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	key, err := f.client.CreateKey(ctx, authclient.KeyParams{Label: "ci", ExpiresAt: until,
		Scopes: auth.NewScopes("reports:read", auth.ScopeKeys)})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v %#v", key, key), key.AccessSecret.Reveal())
	keys, err := f.client.Keys(ctx)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	require.Nil(t, keys[0].Scopes)
	require.False(t, keys[0].LastUsedAt.IsZero())
	require.Equal(t, key.Key.Scopes, keys[1].Scopes)
	require.Equal(t, until, keys[1].ExpiresAt)
	require.Equal(t, "Active", keys[1].Status)
	rotated, err := f.client.RotateKey(ctx, key.AccessKey, time.Minute)
	require.NoError(t, err)
	require.Equal(t, key.AccessKey, rotated.AccessKey)

	limited, err := authclient.New(f.server.URL,
		authclient.FromPair(rotated.AccessKey, rotated.AccessSecret.Reveal()))
	require.NoError(t, err)
	_, err = limited.Sessions(ctx)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	var answer *authclient.Error
	require.ErrorAs(t, err, &answer)
	require.Equal(t, auth.ScopeSessions, answer.Scope)
	_, err = limited.CreateKey(ctx, authclient.KeyParams{Scopes: auth.NewScopes()})
	require.ErrorAs(t, err, &answer)
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)

	sessions, err := f.client.Sessions(ctx)
	require.NoError(t, err)
	require.Len(t, sessions, 2)
	for _, s := range sessions {
		require.Equal(t, auth.MethodAccessKey, s.Method)
		if !s.Current {
			require.NoError(t, f.client.RevokeSession(ctx, s.ID))
			require.ErrorIs(t, f.client.RevokeSession(ctx, s.ID), auth.ErrNotFound)
		}
	}
	require.NoError(t, f.client.RevokeKey(ctx, key.AccessKey))
	require.ErrorIs(t, f.client.RevokeKey(ctx, "a/../b?c"), auth.ErrNotFound)

	before := f.signIns.Load()
	require.NoError(t, f.client.Logout(ctx))
	require.NoError(t, f.client.Logout(ctx), "there is no token")
	_, err = f.client.CurrentUser(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, f.signIns.Load()-before)

	// This service has no GitHub.
	_, err = f.client.GitHub(ctx)
	require.ErrorContains(t, err, "GitHub sign-in is not configured")
	_, err = f.client.DisconnectGitHub(ctx)
	require.ErrorContains(t, err, "GitHub sign-in is not configured")
}

func TestTheCallsOfAnAdministrator(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t), t.Context()
	ids := map[string]bool{}
	for i := range 60 { // more than a page
		r, err := f.client.RegisterUser(ctx, authclient.UserParams{Username: fmt.Sprint("user-", i),
			Email: fmt.Sprintf("user-%d@example.com", i)})
		require.NoError(t, err)
		require.True(t, r.User.IsActive && !r.User.IsSuperUser)
		require.NotEmpty(t, r.Pair.AccessSecret.Reveal())
		ids[r.User.ID] = true
	}
	var one auth.User
	filter := authclient.UserFilter{Search: "user-", State: auth.UserStateActive}
	for user, err := range f.client.Users(ctx, filter) {
		require.NoError(t, err)
		if ids[user.ID] {
			one = user
		}
		delete(ids, user.ID)
	}
	require.Empty(t, ids, "every user is in the list")
	for range f.client.Users(ctx, authclient.UserFilter{}) {
		break
	}

	user, err := f.client.User(ctx, one.ID)
	require.NoError(t, err)
	require.Equal(t, one, user)
	user, err = f.client.UpdateUser(ctx, one.ID, authclient.UserChange{IsActive: new(bool)})
	require.NoError(t, err)
	require.False(t, user.IsActive)
	r, err := f.client.ReinstateUser(ctx, one.ID)
	require.NoError(t, err)
	require.True(t, r.User.IsActive)
	pair, err := f.client.RegenerateCredentials(ctx, one.ID)
	require.NoError(t, err)
	other, err := authclient.New(f.server.URL+"/",
		authclient.FromPair(pair.AccessKey, pair.AccessSecret.Reveal()))
	require.NoError(t, err)
	_, err = other.CurrentUser(ctx)
	require.NoError(t, err)
	_, err = other.User(ctx, one.ID)
	require.ErrorContains(t, err, "GET /auth/users/")
	require.ErrorContains(t, err, "403 Forbidden: Super user access required")
	require.NotErrorIs(t, err, auth.ErrInsufficientScope)
	count, err := f.client.RevokeUser(ctx, one.ID)
	require.NoError(t, err)
	require.Equal(t, 1, count)

	var kinds []eventkind.Kind
	for event, err := range f.client.Events(ctx, authclient.EventFilter{}) {
		require.NoError(t, err)
		kinds = append(kinds, event.Kind)
	}
	require.Greater(t, len(kinds), 60)
	require.NoError(t, f.client.DeleteUser(ctx, one.ID))
	_, err = f.client.User(ctx, one.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
	for _, err := range other.Users(ctx, authclient.UserFilter{}) {
		require.Error(t, err)
	}
}

// The link to the next page cannot send the token to another path or host.
func TestALinkChangesOnlyTheQuery(t *testing.T) {
	t.Parallel()
	var asked []string
	client := newClient(t, func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/login") {
			return issue("token", time.Hour)
		}
		asked = append(asked, r.URL.String())
		links := map[string]string{
			"kind=all": `<https://other.example.com/steal?after=1>; rel="last next", </style.css?x>; rel=preload`,
			"after=1":  `<../x?after=2>; title="a"; rel="next"`,
			"after=2":  `</style.css>; rel=preload, </auth/users?after=1>; rel="prev", </auth/users?after=3>; Rel=next`,
			"after=3":  `</auth/users?after=0>; rel="prev"; title="rel=next"`,
		}
		page := reply(200, []any{}, "Link", "</style.css>; rel=preload")
		page.Header.Add("Link", links[r.URL.RawQuery])
		return page
	})
	for range client.Users(t.Context(), authclient.UserFilter{}) {
		require.Fail(t, "there are no users")
	}
	require.Equal(t, []string{"https://api.example.com/auth/users?kind=all",
		"https://api.example.com/auth/users?after=1", "https://api.example.com/auth/users?after=2",
		"https://api.example.com/auth/users?after=3"}, asked)
}

// The attack: a proxy answers every page with the same link, and the iteration never ends.
func TestALinkToTheSamePageEndsTheIteration(t *testing.T) {
	t.Parallel()
	for link, pages := range map[string]int{`</auth/users?after=1>; rel="next"`: 2,
		`</auth/users?kind=all>; rel="next"`: 1, `</auth/users>; rel="next"`: 1, `<:>; rel="next"`: 1} {
		asked, failures := 0, 0
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return issue("token", time.Hour)
			}
			asked++
			return reply(200, []any{}, "Link", link)
		})
		for _, err := range client.Users(t.Context(), authclient.UserFilter{}) {
			require.ErrorContains(t, err, "the link to the next page")
			failures++
		}
		require.Equal(t, 1, failures)
		require.Equal(t, pages, asked, link)
	}
}

// The attack: an ID that a proxy removes from the path, so that the call goes to another path.
func TestAnIDThatChangesThePathIsRefused(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/login") {
			return issue("token", time.Hour)
		}
		panic("a request to " + r.URL.String())
	})
	for _, id := range []string{"", ".", ".."} {
		ctx := t.Context()
		_, err1 := client.User(ctx, id)
		_, err2 := client.UpdateUser(ctx, id, authclient.UserChange{})
		_, err3 := client.RegenerateCredentials(ctx, id)
		_, err4 := client.ReinstateUser(ctx, id)
		_, err5 := client.RevokeUser(ctx, id)
		_, err6 := client.RotateKey(ctx, id, 0)
		for _, err := range []error{err1, err2, err3, err4, err5, err6, client.DeleteUser(ctx, id),
			client.RevokeKey(ctx, id), client.RevokeSession(ctx, id)} {
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
	}
}

// The attack: an answer whose detail changes the terminal or fills the log.
func TestADetailIsShortReadableText(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(*http.Request) *http.Response {
		return reply(403, map[string]string{"detail": "a\x1b[2J\nINFO b" + strings.Repeat("x", 1<<20)})
	})
	_, err := client.CurrentUser(t.Context())
	require.ErrorContains(t, err, ": a[2JINFO bxxx")
	require.Less(t, len(err.Error()), 1200)
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/auth/users/login" {
			return false
		}
		for chunk := strings.Repeat("x", 1<<20); r.Context().Err() == nil; {
			if _, err := w.Write([]byte(chunk)); err != nil {
				return true
			}
		}
		return true
	})
	_, err := f.client.CurrentUser(t.Context())
	require.ErrorContains(t, err, "the answer has more than")
}

func TestAFileIsReadAgainAfterItWasReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "key.json")
	save := func(pair auth.KeyPair) {
		text, err := json.Marshal(map[string]any{"access_key": pair.AccessKey,
			"access_secret": pair.AccessSecret.Reveal(), "label": "ci", "scopes": nil})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path+".new", text, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	client, err := authclient.NewWithConfig(f.server.URL, authclient.FromFile(path),
		authclient.Config{Now: jumping()})
	require.NoError(t, err)
	_, err = client.CurrentUser(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	save(f.pair)
	_, err = client.CurrentUser(t.Context())
	require.NoError(t, err)
	rotated, err := client.RotateKey(t.Context(), f.pair.AccessKey, 0)
	require.NoError(t, err)
	save(auth.KeyPair{AccessKey: rotated.AccessKey, AccessSecret: rotated.AccessSecret})
	f.revokeAll(t)
	_, err = client.CurrentUser(t.Context())
	require.NoError(t, err)
	for content, want := range map[string]string{`{"access_key": "ak"}`: "the access secret is empty",
		`{"access_secret": "hidden"}`: "the access key is empty",
		strings.Repeat(" ", 64<<10) + `{"access_key": "ak", "access_secret": "hidden"}`: "more than 65536 bytes"} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		client, err := authclient.New(f.server.URL, authclient.FromFile(path))
		require.NoError(t, err)
		_, err = client.CurrentUser(t.Context())
		require.ErrorContains(t, err, want)
	}
	// A pipe would make the sign-in, and all calls that wait for it, wait for a writer.
	for _, path := range []string{os.DevNull, t.TempDir()} {
		_, err := authclient.FromFile(path).KeyPair(t.Context())
		require.ErrorContains(t, err, "it is not a regular file")
	}
	for _, content := range []string{"", "[]", `{"access_key": "ak"}`,
		`{"access_key": 1, "access_secret": "hidden"}`, `{"access_key": "ak", "access_secret": "hidden"`,
		strings.Repeat(" ", 64<<10) + `{"access_secret": "hidden"}`} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := authclient.FromFile(path).KeyPair(t.Context())
		if err != nil {
			require.NotContains(t, err.Error(), "hidden")
			continue
		}
		client, err := authclient.New(f.server.URL, authclient.FromFile(path))
		require.NoError(t, err)
		_, err = client.CurrentUser(t.Context())
		require.ErrorContains(t, err, "is empty")
	}
}

func TestTheEnvironmentNamesWhatIsMissing(t *testing.T) {
	f := newFixture(t)
	client, err := authclient.NewWithConfig(f.server.URL, authclient.FromEnv("TEST_KEY", "TEST_SECRET"),
		authclient.Config{Now: jumping()})
	require.NoError(t, err)
	_, err = client.CurrentUser(t.Context())
	require.ErrorContains(t, err, "TEST_KEY is not set")
	t.Setenv("TEST_KEY", f.pair.AccessKey)
	_, err = client.CurrentUser(t.Context())
	require.ErrorContains(t, err, "TEST_SECRET is not set")
	t.Setenv("TEST_SECRET", f.pair.AccessSecret.Reveal())
	_, err = client.CurrentUser(t.Context())
	require.NoError(t, err)
}

func TestBaseURLsThatAreNotSecureAreRefused(t *testing.T) {
	t.Parallel()
	source := authclient.FromPair("ak", "hidden")
	for _, url := range []string{"", "api.example.com", "http://api.example.com", "ftp://api.example.com",
		"https://", "https://user@api.example.com", "https://api.example.com?x", "https://api.example.com/#x",
		"https://api.example.com?", "://"} {
		_, err := authclient.New(url, source)
		require.ErrorContains(t, err, "authclient: the base URL must be", url)
	}
	for _, url := range []string{"https://api.example.com", "https://api.example.com/auth/",
		"http://localhost:8080", "http://[::1]:80"} {
		_, err := authclient.New(url, source)
		require.NoError(t, err, url)
	}
	_, err := authclient.NewWithConfig("http://api.example.com", source, authclient.Config{InsecureURL: true})
	require.NoError(t, err)
	for _, none := range []authclient.Source{nil, authclient.SourceFunc(nil)} {
		_, err = authclient.New("https://api.example.com", none)
		require.ErrorContains(t, err, "needs a Source")
	}
}

func TestAUserWithoutGitHubIsNoError(t *testing.T) {
	t.Parallel()
	status := 404
	client := newClient(t, func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/login") {
			return issue("token", time.Hour)
		}
		return reply(status, map[string]any{"github_username": "octocat", "success": true})
	})
	login, err := client.GitHub(t.Context())
	require.NoError(t, err)
	require.Empty(t, login)
	status = 200
	login, err = client.GitHub(t.Context())
	require.NoError(t, err)
	require.Equal(t, "octocat", login)
	removed, err := client.DisconnectGitHub(t.Context())
	require.NoError(t, err)
	require.True(t, removed)
}

// The attack: an answer of another server fills the log with a long or unreadable scope.
func TestTheScopeInAnErrorIsShortAndReadable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	longest := strings.Repeat("x", 64)
	for sent, want := range map[string]string{
		"auth:keys": "auth:keys", longest: longest, longest + "y": longest,
		strings.Repeat("long ", 1000): strings.Repeat("long ", 13)[:64], "a\tb": "ab",
	} {
		f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/auth/keys" {
				return false
			}
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+sent+`"`)
			w.WriteHeader(http.StatusForbidden)
			return true
		})
		_, err := f.client.Keys(t.Context())
		var answer *authclient.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, want, answer.Scope)
		require.ErrorIs(t, err, auth.ErrInsufficientScope)
	}
}
