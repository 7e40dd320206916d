package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/examples/notes"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// service is a service with the user ada.
type service struct {
	*notes.Service
	url string
	ada auth.Registration
}

func newService(t *testing.T) *service {
	t.Helper()
	directory := t.TempDir()
	db, err := sqlstore.OpenFile("sqlite", filepath.Join(directory, "notes.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	table, err := notes.OpenTable(t.Context(), db)
	require.NoError(t, err)
	keys, err := keyfile.ReadOrCreate(filepath.Join(directory, "keys"), nil)
	require.NoError(t, err)
	s := &service{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	s.Service, err = notes.New(memstore.New(), table, auth.Config{
		Issuer: s.url, SigningKeys: keys.Signing, SealingKeys: keys.Sealing,
		Proxies: auth.NoProxies(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	s.ada, err = s.Auth.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	return s
}

// decide lets ada approve or deny the code that the command has printed.
func (s *service) decide(t *testing.T, printed string, approve bool) {
	t.Helper()
	code := regexp.MustCompile(`[B-Z]{4}-[B-Z]{4}`).FindString(printed)
	signedIn, err := s.Auth.SignIn(t.Context(), s.ada.User.ID, auth.LoginOptions{})
	require.NoError(t, err)
	by := auth.Authority{SessionID: signedIn.Session.ID, UserID: s.ada.User.ID}
	_, err = s.Auth.ClaimDevice(t.Context(), by, code)
	require.NoError(t, err)
	decide := s.Auth.ApproveDevice
	if !approve {
		decide = s.Auth.DenyDevice
	}
	_, err = decide(t.Context(), by, code)
	require.NoError(t, err)
}

// login signs in, and lets ada decide as soon as the command shows its code.
func (s *service) login(t *testing.T, directory string, approve bool) error {
	t.Helper()
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- command{s.url, directory, writer}.run(t.Context(), []string{"login"})
		writer.Close()
	}()
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		if strings.Contains(lines.Text(), "type the code") {
			s.decide(t, lines.Text(), approve) // the command asks after five seconds
		}
	}
	return <-done
}

// execute runs the command, and returns its output.
func execute(t *testing.T, url, directory string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := command{url, directory, &out}.run(t.Context(), args)
	return out.String(), err
}

func TestAPersonSignsInAndKeepsNotes(t *testing.T) {
	t.Parallel()
	s, directory := newService(t), filepath.Join(t.TempDir(), "new", "directory")
	_, err := execute(t, s.url, directory, "list")
	require.ErrorContains(t, err, "you are not signed in")
	require.NoError(t, s.login(t, directory, true))

	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Len(t, files, 1)
	info, err := files[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "other users cannot read the token")

	for _, text := range []string{"milk", "\x1b[2Jevil"} {
		_, err = execute(t, s.url, directory, "add", "buy", text)
		require.NoError(t, err)
	}
	out, err := execute(t, s.url, directory, "list")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `"buy \x1b[2Jevil"`, "a note cannot control the terminal")
	require.Contains(t, lines[1], `"buy milk"`)
	newest, _, _ := strings.Cut(lines[0], " ")
	out, err = execute(t, s.url, directory, "list", newest)
	require.NoError(t, err)
	require.Equal(t, lines[1]+"\n", out)
	_, err = execute(t, s.url, directory, "delete", newest)
	require.NoError(t, err)
	_, err = execute(t, s.url, directory, "delete", newest)
	require.ErrorContains(t, err, `the service answers "404 Not Found": "Not found"`)

	// The attack: the token goes to another service.
	_, err = execute(t, "https://evil.example", directory, "list")
	require.ErrorContains(t, err, "you are not signed in")

	_, err = execute(t, s.url, directory, "logout")
	require.NoError(t, err)
	_, err = execute(t, s.url, directory, "list")
	require.ErrorContains(t, err, "you are not signed in")
}

func TestASignInThatIsDeniedSavesNothing(t *testing.T) {
	t.Parallel()
	s, directory := newService(t), t.TempDir()
	require.ErrorContains(t, s.login(t, directory, false), "access_denied")
	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestAProgramSignsInWithAnAccessKey(t *testing.T) {
	s := newService(t)
	t.Setenv("NOTES_ACCESS_KEY", s.ada.Pair.AccessKey)
	t.Setenv("NOTES_ACCESS_SECRET", s.ada.Pair.AccessSecret.Reveal())
	_, err := execute(t, s.url, t.TempDir(), "add", "from cron")
	require.NoError(t, err)
	out, err := execute(t, s.url, t.TempDir(), "list")
	require.NoError(t, err)
	require.Contains(t, out, `"from cron"`)
}

// The attack: the service, or a proxy in front of it, sends the client and its token elsewhere.
func TestTheTokenDoesNotFollowARedirect(t *testing.T) {
	t.Parallel()
	s, directory := newService(t), t.TempDir()
	require.NoError(t, s.login(t, directory, true))
	reached := make(chan string, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- r.Header.Get("Authorization")
	}))
	t.Cleanup(elsewhere.Close)
	mux := http.NewServeMux()
	mux.Handle("/", http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	s.Handler = mux
	_, err := execute(t, s.url, directory, "list")
	require.ErrorContains(t, err, "307")
	require.Empty(t, reached)
}

func TestACommandThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://notes.example.com": "NOTES_URL",
		"notes":                    "NOTES_URL",
		"https://notes.example":    "you are not signed in",
	} {
		err := command{url, t.TempDir(), io.Discard}.run(context.Background(), []string{"list"})
		require.ErrorContains(t, err, want)
	}
}
