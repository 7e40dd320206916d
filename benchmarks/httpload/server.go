package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/benchmarks"
	"github.com/sallyport-go/auth/memstore"
)

const serveFlag = "serve"

// variants are the names of the servers. The name says which middleware the server has.
var variants = []string{"none", "context", "ours", "golang-jwt"}

// hello is the message that a server writes to standard output when it is ready.
type hello struct {
	Address string
	Tokens  []string
}

var answer = []byte(`{"report":"2026-07","lines":[1,2,3],"complete":true}` + "\n")

// serve runs the server of a variant until the parent process exits.
func serve(ctx context.Context, variant string, tokens int, out io.Writer) error {
	key := make([]byte, 32)
	rand.Read(key)
	svc, texts, err := signIn(ctx, key, tokens)
	if err != nil {
		return err
	}
	handler, err := protect(variant, svc, key, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // the client may have disconnected
	}))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(hello{listener.Addr().String(), texts}); err != nil {
		return err
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // standard input ends with the parent process
		_ = srv.Close()
	}()
	if err := srv.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// signIn returns a service and tokens that the service has issued. All variants use such tokens, so
// that the requests to all servers have the same size.
func signIn(ctx context.Context, key []byte, tokens int) (*auth.Service, []string, error) {
	signing, err := auth.NewHS256Key("", key)
	if err != nil {
		return nil, nil, err
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: benchmarks.Issuer, SigningKeys: []auth.SigningKey{signing},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, err
	}
	made, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "ada"})
	if err != nil {
		return nil, nil, err
	}
	texts := make([]string, tokens)
	for i := range texts {
		token, err := svc.SignIn(ctx, made.User.ID, auth.LoginOptions{})
		if err != nil {
			return nil, nil, err
		}
		texts[i] = token.Bearer.Reveal()
	}
	return svc, texts, nil
}

type contextKey struct{}

func protect(variant string, svc *auth.Service, key []byte, next http.Handler) (http.Handler, error) {
	switch variant {
	case "none":
		return next, nil
	case "context":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, variant)))
		}), nil
	case "ours":
		return svc.Authenticate(next), nil
	case "golang-jwt":
		middleware, err := benchmarks.GolangJWT(benchmarks.Keys{HS256: key}, "HS256")
		if err != nil {
			return nil, err
		}
		return middleware(next), nil
	}
	return nil, fmt.Errorf("there is no variant %q", variant)
}

// server is a server in a separate process.
type server struct {
	hello
	process *exec.Cmd
	stdin   io.Closer
}

// start starts this program again as a server.
func start(ctx context.Context, variant string, tokens int) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-"+serveFlag, variant, "-tokens", fmt.Sprint(tokens))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{process: cmd, stdin: stdin}
	if err := json.NewDecoder(stdout).Decode(&s.hello); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop closes the standard input of the server, so that the server exits. If the server has not
// exited after 5 seconds, stop kills it.
func (s *server) stop() {
	_ = s.stdin.Close()
	late := time.AfterFunc(5*time.Second, func() { _ = s.process.Process.Kill() })
	defer late.Stop()
	_ = s.process.Wait()
}
