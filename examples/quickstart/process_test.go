package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "quickstart")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a quickstart that runs in its own process.
type process struct {
	cmd    *exec.Cmd
	url    string
	stdout []string // lines up to the one that contains the address
	stderr *bytes.Buffer
	key    string // as printed at the start; empty if not printed
	secret string
}

// start starts the program and waits until it listens.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	require.NotEmpty(t, p.url, "it ended early: %s %s", p.stdout, p.stderr)
	return p
}

// launch is like start, but the program may exit before it listens.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	return launchWith(t, "", "", args...)
}

// launchWith is like launch, but sets an OAuth app in the environment. An empty client ID means
// that no app is set.
func launchWith(t testing.TB, clientID, clientSecret string, args ...string) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(path, append([]string{"-addr", "127.0.0.1:0"}, args...)...),
		stderr: new(bytes.Buffer)}
	p.cmd.Env = append(os.Environ(), "GITHUB_CLIENT_ID="+clientID, "GITHUB_CLIENT_SECRET="+clientSecret)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for p.url == "" && lines.Scan() {
		p.stdout = append(p.stdout, lines.Text())
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "access_key":
			p.key = value
		case "access_secret":
			p.secret = value
		}
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			p.url = url
		}
	}
	return p
}

// stop sends the signal and waits until the program exits. It returns an error if the exit status
// is not 0.
func (p *process) stop(signal os.Signal) error {
	p.cmd.Process.Signal(signal)
	return p.cmd.Wait()
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// call sends a request and returns the status and the JSON object of the response. It returns an
// error only if the connection fails.
func (p *process) call(
	client *http.Client, method, path, token string, body any,
) (int, map[string]any, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, p.url+path, reader)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	var object map[string]any
	if err := json.NewDecoder(response.Body).Decode(&object); err != nil {
		return 0, nil, err
	}
	return response.StatusCode, object, nil
}

func (p *process) mustCall(t testing.TB, method, path, token string, body any) (int, map[string]any) {
	t.Helper()
	status, object, err := p.call(http.DefaultClient, method, path, token, body)
	require.NoError(t, err)
	return status, object
}

// login signs in with the access key and secret, and returns a token.
func (p *process) login(t testing.TB, key, secret string) string {
	t.Helper()
	status, body := p.mustCall(t, http.MethodPost, "/auth/users/login", "", credentials(key, secret))
	require.Equal(t, http.StatusOK, status, body)
	return body["token"].(string)
}

func credentials(key, secret string) map[string]string {
	return map[string]string{"access_key": key, "access_secret": secret}
}

func newDatabase(t testing.TB) string {
	return filepath.Join(t.TempDir(), "quickstart.db")
}

// newAddress returns an address that no other test uses, so that a program can use its port again after a
// restart. The address is part of the tokens, because it is their issuer.
func newAddress() string {
	if runtime.GOOS != "linux" { // other systems have only 127.0.0.1
		return "127.0.0.1:0"
	}
	return fmt.Sprintf("127.%d.%d.%d:0", rand.N(254)+1, rand.N(256), rand.N(254)+1)
}

// addr returns the address at which the program listens.
func (p *process) addr() string { return strings.TrimPrefix(p.url, "http://") }

func TestTheProgramEndsCleanlyOnASignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := start(t, "-db", newDatabase(t))
		p.login(t, p.key, p.secret)
		require.NoError(t, p.stop(signal), "exit status 0")
		require.NotRegexp(t, "level=(WARN|ERROR)", p.stderr.String(), "nothing to complain about")
	}
}

// A request that runs when the signal arrives gets its answer. The program accepts no new connection.
func TestARunningRequestIsAnsweredAfterTheSignal(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	body, err := json.Marshal(credentials(p.key, p.secret))
	require.NoError(t, err)
	conn, err := net.Dial("tcp", p.addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /auth/users/login HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", p.addr(), len(body))
	require.NoError(t, err)
	answers := bufio.NewReader(conn)
	line, err := answers.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue", "the handler is reading the body")
	_, err = answers.ReadString('\n')
	require.NoError(t, err)

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		other, err := net.Dial("tcp", p.addr())
		if err == nil {
			other.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond)
	_, err = conn.Write(body)
	require.NoError(t, err)
	response, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, response.Body.Close())
	require.NoError(t, p.cmd.Wait())
}
