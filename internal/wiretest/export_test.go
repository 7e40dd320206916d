package wiretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// export returns the export of the user as text and as an object.
func (f *fixture) export(userID string) (string, map[string]any) {
	f.t.Helper()
	var text bytes.Buffer
	require.NoError(f.t, f.svc.ExportUser(f.t.Context(), &text, userID))
	require.True(f.t, json.Valid(text.Bytes()), text.String())
	return text.String(), response{body: text.String()}.json(f.t)
}

func TestAnExportHasEverythingAboutTheUserAndNoSecret(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.loginFrom("the laptop of alice")
	require.Equal(t, 200, g.browser().connect(token).status)
	limited := g.sendAs(token, "POST", "/auth/keys",
		`{"label":"the CI","expires_at":"2026-03-02T00:00:00Z"}`).pair(t)
	rotated := g.sendAs(token, "POST", "/auth/keys/"+limited.AccessKey+"/rotate",
		`{"overlap_seconds":60}`).pair(t)
	require.Equal(t, 200, g.patchUser(g.user, `{"username":"alicia"}`).status)
	g.setActive(g.admin, true) // an event about another user

	text, object := g.export(g.user.ID)
	user := object["user"].(map[string]any)
	require.Equal(t, g.user.ID, user["user_id"])
	require.Equal(t, "alicia", user["username"])
	require.Equal(t, []any{"alice"}, object["retired_usernames"])
	keys := object["access_keys"].([]any)
	require.Len(t, keys, 2)
	ofCI := keys[0].(map[string]any)
	if ofCI["label"] != "the CI" {
		ofCI = keys[1].(map[string]any) // both keys have the same time
	}
	require.Equal(t, map[string]any{
		"access_key": limited.AccessKey, "label": "the CI", "created_at": "2026-01-02T03:04:05.678901Z",
		"expires_at": "2026-03-02T00:00:00Z", "previous_until": "2026-01-02T03:05:05.678901Z", "scopes": nil,
	}, ofCI)
	sessions := object["sessions"].([]any)
	require.Len(t, sessions, 1)
	require.Equal(t, "the laptop of alice", sessions[0].(map[string]any)["user_agent"])
	accounts := object["github_accounts"].([]any)
	require.Len(t, accounts, 1)
	account := accounts[0].(map[string]any)
	require.EqualValues(t, octocat, account["id"])
	require.Equal(t, octocatLogin, account["login"])
	require.Equal(t, true, account["linked"])
	require.NotContains(t, account["token"], "sealed")
	require.Contains(t, account["token"], "scopes")

	secrets := []string{limited.AccessSecret.Reveal(), rotated.AccessSecret.Reveal(),
		g.userPair.AccessSecret.Reveal(), token}
	for _, token := range g.fake.Tokens(octocat) {
		secrets = append(secrets, token.Access)
	}
	stored, err := g.store.ListKeys(t.Context(), g.user.ID)
	require.NoError(t, err)
	for _, key := range stored {
		secrets = append(secrets, key.Hash)
	}
	for _, secret := range secrets {
		require.NotContains(t, text, secret)
	}
	require.NotContains(t, text, "root@example.com")

	require.NoError(t, g.svc.GitHub().Unlink(t.Context(), authtest.ByHost, g.user.ID))
	_, object = g.export(g.user.ID)
	require.Equal(t, []any{map[string]any{"host": "githubtest.invalid", "id": float64(octocat),
		"linked": false, "token": nil}}, object["github_accounts"], "the account stays remembered")

	g.clock.Advance(24 * time.Hour)
	_, object = g.export(g.user.ID)
	require.Len(t, object["sessions"], 1, "the expired session is still kept")
}

// The events about the user name the users who caused them, but not where those users were.
func TestAnExportHasTheEventsAboutAndByTheUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	own := f.send("POST", "/auth/keys", `{}`, "Authorization", "Bearer "+token,
		"User-Agent", "the browser of alice")
	require.Equal(t, 201, own.status)
	admin := f.signIn(f.admin)
	r := f.send("PATCH", "/auth/users/"+f.user.ID, `{"is_active":true}`, "Authorization", "Bearer "+admin,
		"User-Agent", "the browser of root")
	require.Equal(t, 200, r.status)

	text, object := f.export(f.user.ID)
	require.NotContains(t, text, "the browser of root")
	require.Contains(t, text, "the browser of alice")
	about := object["events_about"].([]any)
	require.Equal(t, "user.changed", about[0].(map[string]any)["kind"])
	require.Equal(t, f.admin.ID, about[0].(map[string]any)["actor_id"])
	require.Empty(t, object["events_by"])

	text, object = f.export(f.admin.ID)
	require.Contains(t, text, "the browser of root")
	require.NotContains(t, text, "the browser of alice")
	by := object["events_by"].([]any)
	require.Len(t, by, 1)
	require.Equal(t, f.user.ID, by[0].(map[string]any)["user_id"])
}

// countingTrail counts the events of the largest page.
type countingTrail struct {
	auth.Store
	auth.EventStore
	pages, largest int
	before         func()
}

func (c *countingTrail) ListEvents(
	ctx context.Context, filter auth.EventFilter, limit int,
) ([]auth.Event, error) {
	if c.before != nil && c.pages > 0 {
		c.before()
	}
	page, err := c.EventStore.ListEvents(ctx, filter, limit)
	c.pages++
	c.largest = max(c.largest, len(page))
	return page, err
}

func newCounted(t *testing.T, events int) (*fixture, *countingTrail) {
	t.Helper()
	store := memstore.New()
	counted := &countingTrail{Store: store, EventStore: store}
	f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = counted })
	for i := range events {
		_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, f.user.ID,
			auth.UserChange{Email: new(fmt.Sprintf("a%d@example.com", i))})
		require.NoError(t, err)
	}
	counted.pages, counted.largest = 0, 0
	return f, counted
}

func TestAnExportReadsTheTrailInPages(t *testing.T) {
	t.Parallel()
	f, counted := newCounted(t, 1000)
	_, object := f.export(f.user.ID)
	require.Len(t, object["events_about"], 1001)
	require.Greater(t, counted.pages, 5)
	require.LessOrEqual(t, counted.largest, 200)
	seen := map[any]bool{}
	for _, event := range object["events_about"].([]any) {
		seen[event.(map[string]any)["id"]] = true
	}
	require.Len(t, seen, 1001, "each event once")
}

// The event at which the next page begins can be pruned meanwhile.
func TestAnExportEndsIfTheTrailIsPrunedMeanwhile(t *testing.T) {
	t.Parallel()
	f, counted := newCounted(t, 300)
	counted.before = func() {
		_, err := counted.EventStore.PruneEvents(t.Context(), f.clock.Now().Add(time.Hour), 1000)
		require.NoError(t, err)
	}
	_, object := f.export(f.user.ID)
	require.Len(t, object["events_about"], 200)
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(text []byte) (int, error) {
	if w.left -= len(text); w.left < 0 {
		return 0, errors.New("the client has gone away")
	}
	return len(text), nil
}

func TestAnExportFailsIfTheWriterOrTheStoreFails(t *testing.T) {
	t.Parallel()
	f, counted := newCounted(t, 1000)
	for _, left := range []int{0, 100, 50_000} {
		counted.pages = 0
		err := f.svc.ExportUser(t.Context(), &failingWriter{left}, f.user.ID)
		require.ErrorContains(t, err, "the client has gone away")
		require.Less(t, counted.pages, 5, "the export does not read the rest of the trail")
	}
	var text bytes.Buffer
	require.ErrorIs(t, f.svc.ExportUser(t.Context(), &text, "nobody"), auth.ErrNotFound)
	require.Empty(t, text.String())

	for _, method := range []string{"FindUser", "ListRetiredUsernames", "ListKeys", "ListSessions",
		"ListGitHubAccounts", "ListEvents"} {
		failing := newFixture(t, withFaults(func(called string) error {
			if called == method {
				return errors.New("the store is away")
			}
			return nil
		}))
		err := failing.svc.ExportUser(t.Context(), &text, failing.user.ID)
		require.ErrorContains(t, err, "the store is away", method)
	}
}

func TestAnExportOfAUserOfTheHost(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	h.browser().signIn()
	_, object := h.export("u-alice")
	require.Equal(t, "alice", object["user"].(map[string]any)["username"])
	require.Len(t, object["github_accounts"], 1)
	require.Len(t, object["sessions"], 1)
	require.Empty(t, object["retired_usernames"])

	// The host has deleted the user. The store still has records of this user.
	_, object = h.export("u-nobody")
	require.Nil(t, object["user"])
	require.Empty(t, object["sessions"])
}

func TestAnExportWithoutATrailHasNoEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.DisableAuditTrail = true })
	_, object := f.export(f.user.ID)
	require.Contains(t, object, "events_about")
	require.Nil(t, object["events_about"])
	require.Nil(t, object["events_by"])
}

// A new field of a record must be exported, or it must be left out on purpose.
func TestEachFieldOfARecordIsExportedOrLeftOut(t *testing.T) {
	t.Parallel()
	for record, fields := range map[reflect.Type]string{
		reflect.TypeFor[auth.AccessKey](): "ID Label CreatedAt ExpiresAt PreviousUntil LastUsedAt Scopes " +
			"MustRotate ExpiryNoticeAt",
		reflect.TypeFor[auth.Session](): "ID Method AccessKeyID CreatedAt ExpiresAt UserAgent Address " +
			"Scopes Audience",
		reflect.TypeFor[auth.GitHubLink]():  "Account Login Name AvatarURL CreatedAt SeenAt",
		reflect.TypeFor[auth.GitHubToken](): "Account Scopes UpdatedAt",
	} {
		known := append(strings.Fields(fields), "UserID", "Hash", "PreviousHash", "Generation", "Sealed",
			"Version")
		for field := range record.Fields() {
			require.Contains(t, known, field.Name, "%s: export the field in users_export.go", record)
		}
	}
}

// Attack: an export for an empty ID, which would select the records of all users.
func TestAnExportForNobodyIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.signIn(f.user)
	h := newHostFixture(t) // its users table has a user with the empty ID
	h.table.change("", func(u *auth.User) { *u = auth.User{Username: "nobody", IsActive: true} })
	for _, svc := range []*auth.Service{f.svc, h.svc} {
		for _, id := range []string{"", "\x00", strings.Repeat("x", auth.MaxIDLength+1), "\xff"} {
			var text bytes.Buffer
			require.ErrorIs(t, svc.ExportUser(t.Context(), &text, id), auth.ErrNotFound, "%q", id)
			require.Empty(t, text.String())
		}
	}
}

// An export of a super user lists what the user did to others, but has no data of theirs.
func TestAnExportHasNothingOfAnotherUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	victim := f.open(f.userPair)
	admin := f.signIn(f.admin)
	made := f.sendAs(admin, "POST", "/auth/users/register", `{"username":"reports","is_service":true}`)
	require.Equal(t, 200, made.status, made.body)
	reset := f.sendAs(admin, "POST", "/auth/users/"+f.user.ID+"/regenerate-credentials", "")
	require.Equal(t, 200, reset.status, reset.body)
	ended := f.sendAs(admin, "POST", "/auth/tokens/revoke-user/"+f.user.ID, "")
	require.Equal(t, 200, ended.status, ended.body)

	text, object := f.export(f.admin.ID)
	require.Contains(t, text, f.user.ID, "whom the admin has reset is no secret to the admin")
	for name, of := range map[string]string{
		"name": "alice@example.com", "session": victim.Session.ID, "key": f.userPair.AccessKey,
		"new key": reset.json(t)["access_key"].(string), "key of the service": made.json(t)["access_key"].(string),
	} {
		require.NotContains(t, text, of, name)
	}
	for _, event := range object["events_by"].([]any) {
		require.NotEqual(t, f.admin.ID, event.(map[string]any)["user_id"])
	}

	text, _ = f.export(f.user.ID)
	require.NotContains(t, text, payload(t, admin)["jti"], "the session of the admin")
	require.NotContains(t, text, "root@example.com")
	require.NotContains(t, text, made.json(t)["user_id"].(string), "another user whom the admin has changed")
}
