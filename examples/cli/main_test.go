package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// host is a service with the device client "cli", and the user ada.
type host struct {
	svc *auth.Service
	mux *http.ServeMux
	ada auth.User
}

func newHost(t *testing.T, issuer string, mux *http.ServeMux) *host {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	signing, err := auth.NewHS256Key("", secret)
	require.NoError(t, err)
	sealing, err := auth.NewSymmetricKey("s", secret)
	require.NoError(t, err)
	h := &host{mux: mux}
	h.svc, err = auth.New(memstore.New(), auth.Config{
		Issuer: issuer, PublicURL: issuer, SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing}, BrowserSessions: &auth.BrowserSessions{},
		Tokens:  auth.TokenConfig{Scopes: []string{"notes:read"}},
		Proxies: auth.NoProxies(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	server, err := oauth.New(h.svc, oauth.Config{
		DeviceClients: []oauth.DeviceClient{{ID: "cli", Name: "Notes", Scopes: []string{"notes:read"}}},
		DevicePage:    issuer + "/device",
	})
	require.NoError(t, err)
	h.svc.Mount(h.mux)
	server.Mount(h.mux)
	registered, err := h.svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	h.ada = registered.User
	return h
}

// RoundTrip serves a request without a network, so that the clock of synctest can move. As with a network,
// the service does not see the deadline of the client.
func (h *host) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.RemoteAddr = "192.0.2.7:1234"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w.Result(), nil
}

// decide lets ada approve or deny the code that the command has printed.
func (h *host) decide(t *testing.T, printed string, approve bool) {
	t.Helper()
	code := regexp.MustCompile(`[B-Z]{4}-[B-Z]{4}`).FindString(printed)
	require.NotEmpty(t, code, printed)
	signedIn, err := h.svc.SignIn(t.Context(), h.ada.ID, auth.LoginOptions{})
	require.NoError(t, err)
	by := auth.Authority{SessionID: signedIn.Session.ID, UserID: h.ada.ID}
	_, err = h.svc.ClaimDevice(t.Context(), by, code)
	require.NoError(t, err)
	if approve {
		_, err = h.svc.ApproveDevice(t.Context(), by, code)
	} else {
		_, err = h.svc.DenyDevice(t.Context(), by, code)
	}
	require.NoError(t, err)
}

func TestAPersonSignsInWithTheCommandLine(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h := newHost(t, server.URL, mux)
	directory := filepath.Join(t.TempDir(), "new", "directory")
	cli := func(verb string, out io.Writer) error {
		return run(t.Context(), []string{"-service", server.URL, verb}, directory, out)
	}
	require.ErrorIs(t, cli("whoami", io.Discard), errSignedOut)

	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- cli("login", writer)
		writer.Close()
	}()
	printed := ""
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		printed += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "type the code") {
			h.decide(t, printed, true) // the library polls after five seconds
		}
	}
	require.NoError(t, <-done)
	require.Contains(t, printed, server.URL+"/device\n")
	require.Contains(t, printed, "You are signed in.")

	info, err := os.Stat(filepath.Join(directory, "token.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Len(t, files, 1, "no temporary file is left")
	var out strings.Builder
	require.NoError(t, cli("whoami", &out))
	require.Equal(t, "ada\n", out.String())

	require.NoError(t, cli("logout", io.Discard))
	require.ErrorIs(t, cli("whoami", io.Discard), errSignedOut)
	require.NoError(t, cli("logout", io.Discard), "a second time")
}

// login runs the command login with the clock of synctest, and calls do as soon as the command waits.
func login(t *testing.T, do func(h *host, printed string)) (directory string, err error) {
	t.Helper()
	h := newHost(t, "https://notes.example.com", http.NewServeMux())
	directory = t.TempDir()
	var out strings.Builder
	c, err := newCommand("https://notes.example.com/", directory, &out)
	require.NoError(t, err)
	c.client = &http.Client{Transport: h}
	done := make(chan error, 1)
	go func() { done <- c.login(t.Context()) }()
	synctest.Wait()
	do(h, out.String())
	return directory, <-done
}

func TestASignInThatIsNotApprovedSavesNothing(t *testing.T) {
	t.Parallel()
	for want, do := range map[string]func(t *testing.T, h *host, printed string){
		"denied in the browser":    func(t *testing.T, h *host, printed string) { h.decide(t, printed, false) },
		"nobody approved the code": func(*testing.T, *host, string) {},
		"cannot sign in: oauth2: \"": func(t *testing.T, h *host, printed string) {
			h.decide(t, printed, true)
			_, err := h.svc.Tokens().RevokeUser(t.Context(), auth.ByHost("test"), h.ada.ID)
			require.NoError(t, err)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			directory, err := login(t, func(h *host, printed string) { do(t, h, printed) })
			require.ErrorContains(t, err, want)
			files, err := os.ReadDir(directory)
			require.NoError(t, err)
			require.Empty(t, files)
		})
	}
}

// The attack: another user of the machine reads the token, or another service receives it.
func TestTheTokenIsOnlyForTheUserAndTheService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		directory, err := login(t, func(h *host, printed string) { h.decide(t, printed, true) })
		require.NoError(t, err)
		tokens := tokenFile{directory}
		_, err = tokens.load("https://notes.example.com")
		require.NoError(t, err)
		for _, other := range []string{"https://evil.example", "https://notes.example.com:8443", ""} {
			_, err = tokens.load(other)
			require.ErrorIs(t, err, errSignedOut, other)
		}
		require.NoError(t, os.Chmod(tokens.path(), 0o644))
		_, err = tokens.load("https://notes.example.com")
		require.ErrorContains(t, err, "other users can read")

		require.NoError(t, tokens.save("https://notes.example.com", nil))
		info, err := os.Stat(tokens.path())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "an earlier file gives no rights")
		_, err = tokens.load("https://notes.example.com")
		require.ErrorIs(t, err, errSignedOut, "there is no token in it")

		require.NoError(t, os.WriteFile(tokens.path(), []byte("{"), 0o600))
		_, err = tokens.load("https://notes.example.com")
		require.ErrorContains(t, err, "token.json")
	})
}

func TestACommandThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"login, whoami or logout": {},
		"must be an https URL":    {"-service", "http://notes.example.com", "login"},
		"-service must be":        {"-service", "notes", "whoami"},
		"flag provided but not":   {"-unknown"},
	} {
		err := run(context.Background(), args, t.TempDir(), io.Discard)
		require.ErrorContains(t, err, want)
	}
}
