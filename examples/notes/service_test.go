package notes_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/examples/notes"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// fixture is a service whose users are in memory, and whose notes are in a SQLite file.
type fixture struct {
	svc   *notes.Service
	table *notes.Table
	db    *sql.DB // of the table
}

func newFixture(t *testing.T) *fixture { return newLoggedFixture(t, io.Discard) }

func newLoggedFixture(t *testing.T, log io.Writer) *fixture {
	t.Helper()
	directory := t.TempDir()
	db, err := sqlstore.OpenFile("sqlite", filepath.Join(directory, "notes.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	table, err := notes.OpenTable(t.Context(), db)
	require.NoError(t, err)
	keys, err := keyfile.ReadOrCreate(filepath.Join(directory, "keys"), nil)
	require.NoError(t, err)
	svc, err := notes.New(memstore.New(), table, auth.Config{
		Issuer: "https://notes.example.com", SigningKeys: keys.Signing, SealingKeys: keys.Sealing,
		Proxies: auth.NoProxies(), Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	return &fixture{svc, table, db}
}

// user registers a user, and returns the ID and a token with the scopes; nil means no limit.
func (f *fixture) user(t *testing.T, name string, scopes ...string) (id, token string) {
	t.Helper()
	params := auth.UserParams{Username: name}
	if scopes != nil {
		params.Key.Scopes = auth.NewScopes(scopes...)
	}
	made, err := f.svc.Auth.Register(t.Context(), auth.ByHost("test"), params)
	require.NoError(t, err)
	signedIn, err := f.svc.Auth.Login(t.Context(), made.Pair, auth.LoginOptions{})
	require.NoError(t, err)
	return made.User.ID, signedIn.Bearer.Reveal()
}

// call makes a call with a token, and returns the status and the body.
func (f *fixture) call(t *testing.T, method, path, token, body string) (int, string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	f.svc.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

// list returns the notes that the token reads, the newest first.
func (f *fixture) list(t *testing.T, token, before string) []notes.Note {
	t.Helper()
	status, body := f.call(t, http.MethodGet, "/notes?before="+before, token, "")
	require.Equal(t, http.StatusOK, status, body)
	var page struct{ Notes []notes.Note }
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	require.NotNil(t, page.Notes, "an empty list is not null")
	return page.Notes
}

func TestAUserAddsListsAndDeletesNotes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, token := f.user(t, "ada")
	require.Empty(t, f.list(t, token, ""))
	for _, text := range []string{"first", "zweite Notiz: ä"} {
		status, body := f.call(t, http.MethodPost, "/notes", token, fmt.Sprintf(`{"text": %q}`, text))
		require.Equal(t, http.StatusCreated, status, body)
	}
	found := f.list(t, token, "")
	require.Len(t, found, 2)
	require.Equal(t, "zweite Notiz: ä", found[0].Text)
	require.WithinDuration(t, time.Now(), found[0].CreatedAt, time.Minute)
	require.Equal(t, found[1:], f.list(t, token, found[0].ID))

	status, body := f.call(t, http.MethodDelete, "/notes/"+found[0].ID, token, "")
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	require.Equal(t, found[1:], f.list(t, token, ""))
	status, _ = f.call(t, http.MethodDelete, "/notes/"+found[0].ID, token, "")
	require.Equal(t, http.StatusNotFound, status, "a second time")
}

func TestAListHasPagesOf100(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, token := f.user(t, "ada")
	for i := range 150 {
		_, err := f.table.Add(t.Context(), id, fmt.Sprint(i))
		require.NoError(t, err)
	}
	newest := f.list(t, token, "")
	require.Len(t, newest, 100)
	seen := map[string]bool{}
	for _, note := range append(newest, f.list(t, token, newest[99].ID)...) {
		seen[note.Text] = true
	}
	require.Len(t, seen, 150)
}

// The attack: a user guesses or learns the ID of another user's note.
func TestAUserReachesNoNotesOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ada, adasToken := f.user(t, "ada")
	_, evesToken := f.user(t, "eve")
	note, err := f.table.Add(t.Context(), ada, "secret")
	require.NoError(t, err)
	require.Empty(t, f.list(t, evesToken, ""))
	status, _ := f.call(t, http.MethodDelete, "/notes/"+note.ID, evesToken, "")
	require.Equal(t, http.StatusNotFound, status)
	require.Len(t, f.list(t, adasToken, ""), 1)
}

func TestEachCallNeedsItsScope(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tokens := map[string]string{"nobody": ""}
	_, tokens["reader"] = f.user(t, "reader", "notes:read")
	_, tokens["writer"] = f.user(t, "writer", "notes:write")
	_, tokens["account"] = f.user(t, "account", "auth:keys")
	for _, c := range []struct {
		method, path, body string
		want               map[string]int // by caller
	}{
		{http.MethodGet, "/notes", "", map[string]int{"nobody": 401, "reader": 200, "writer": 403, "account": 403}},
		{http.MethodPost, "/notes", `{"text":"a"}`, map[string]int{"nobody": 401, "reader": 403, "writer": 201, "account": 403}},
		{http.MethodDelete, "/notes/x", "", map[string]int{"nobody": 401, "reader": 403, "writer": 404, "account": 403}},
	} {
		for caller, want := range c.want {
			status, body := f.call(t, c.method, c.path, tokens[caller], c.body)
			require.Equal(t, want, status, "%s %s by %s: %s", c.method, c.path, caller, body)
		}
	}
}

func TestANoteThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, token := f.user(t, "ada")
	for name, body := range map[string]string{
		"no body":        "",
		"no JSON":        "text",
		"no text":        `{}`,
		"an empty text":  `{"text": ""}`,
		"a long text":    fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 10_001)),
		"a huge body":    `{"text": "` + strings.Repeat("x", 1<<20),
		"a NUL":          `{"text": "a\u0000b"}`,
		"another type":   `{"text": 7}`,
		"an array":       `["text"]`,
		"a huge comment": strings.Repeat(" ", 1<<20) + `{"text": "a"}`,
	} {
		status, answer := f.call(t, http.MethodPost, "/notes", token, body)
		require.Equal(t, http.StatusUnprocessableEntity, status, name)
		require.JSONEq(t, `{"detail": "Field text must have 1 to 10,000 bytes, in JSON"}`, answer, name)
	}
	longest := fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 10_000))
	status, _ := f.call(t, http.MethodPost, "/notes", token, longest)
	require.Equal(t, http.StatusCreated, status, "the longest text")
}

// The attack: a text that PostgreSQL answers with an error makes the service look as if it was down. The
// database is closed, so a text that reaches it is answered with 503.
func TestATextThatIsNoIDReachesNoDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, token := f.user(t, "ada")
	require.NoError(t, f.db.Close())
	for text, want := range map[string]int{
		"0123456789abcdefGHIJ": http.StatusServiceUnavailable,
		"a%00b":                http.StatusNotFound,
		"%ff":                  http.StatusNotFound,
		"%ed%a0%80":            http.StatusNotFound,
		"%c3%a4":               http.StatusNotFound,
		"a%0a":                 http.StatusNotFound,
	} {
		listed, body := f.call(t, http.MethodGet, "/notes?before="+text, token, "")
		require.Equal(t, want, listed, "%s: %s", text, body)
		deleted, body := f.call(t, http.MethodDelete, "/notes/"+text, token, "")
		require.Equal(t, want, deleted, "%s: %s", text, body)
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(text)
}

// The attack: a stranger sends many junk tokens to fill the disk with log lines.
func TestRefusedRequestsDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	f := newLoggedFixture(t, &log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.svc.Auth.Run(ctx) }()
	for range 300 {
		status, _ := f.call(t, http.MethodGet, "/notes", "junk", "")
		require.Equal(t, http.StatusUnauthorized, status)
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled) // Run has delivered what waited
	require.Less(t, strings.Count(log.String(), "\n"), 30)
	require.Contains(t, log.String(), "auth: token.rejected")
}

// JSON with invalid UTF-8 is decoded to a text with U+FFFD, which every database keeps.
func TestATextWithInvalidUTF8IsKeptAsValidText(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, token := f.user(t, "ada")
	for _, text := range []string{"a\xffb", `a\ud800b`} {
		status, body := f.call(t, http.MethodPost, "/notes", token, `{"text":"`+text+`"}`)
		require.Equal(t, http.StatusCreated, status, body)
		require.Equal(t, "a\ufffdb", f.list(t, token, "")[0].Text)
	}
}

func TestTheNotesOfADeletedUserAreDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ada, _ := f.user(t, "ada")
	bob, _ := f.user(t, "bob")
	for _, id := range []string{ada, bob} {
		_, err := f.table.Add(t.Context(), id, "note")
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.svc.Auth.Run(ctx) }()
	defer func() { cancel(); <-done }()
	require.NoError(t, f.svc.Auth.DeleteUser(t.Context(), auth.ByHost("test"), ada))
	require.Eventually(t, func() bool {
		found, err := f.table.List(t.Context(), ada, "")
		return err == nil && len(found) == 0
	}, 30*time.Second, 10*time.Millisecond)
	found, err := f.table.List(t.Context(), bob, "")
	require.NoError(t, err)
	require.Len(t, found, 1)
}

func TestTheConsoleAndTheHealthCallsAreMounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, want := range map[string]string{
		"/console/": "Notes", "/console/device": "Notes", "/livez": "", "/readyz": "",
		"/.well-known/oauth-authorization-server": "https://notes.example.com/auth/device",
	} {
		status, body := f.call(t, http.MethodGet, path, "", "")
		require.Equal(t, http.StatusOK, status, path)
		require.Contains(t, body, want, path)
	}
	answer := httptest.NewRecorder()
	f.svc.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	require.Equal(t, "/console/", answer.Header().Get("Location"))
	_, err := io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
}
