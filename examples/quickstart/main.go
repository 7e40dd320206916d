// Quickstart is a small service with sign-in. It has an embedded database, the calls that
// docs/http.md describes, a protected route that is not a part of the library, and the pages of
// package console.
//
//	go run ./examples/quickstart [-addr 127.0.0.1:8080] [-db quickstart.db]
//
// At its first start, Quickstart creates a super user and prints the user's access key and secret
// to standard output. The service's own keys are in a file next to the database. With -db :memory:
// the service stores nothing on disk.
//
// Users can sign in with GitHub. The environment variables GITHUB_CLIENT_ID and
// GITHUB_CLIENT_SECRET are the credentials of the OAuth app. The callback URL of the app is the URL
// of the service with the path /api/v1/auth/github/callback.
//
// If neither variable is set, the service starts a fake GitHub. With the fake, any visitor can sign
// in as any user, so the service accepts only requests from this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport-go/auth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	path := flags.String("db", "quickstart.db", "SQLite database `file`, or "+inMemory)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	// The address is bound before any file is opened, so that a second instance that was started by
	// mistake fails without touching the files.
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer listener.Close()

	origin := originOf(*addr, listener.Addr())
	github, fake, err := openGitHub(listener.Addr(), origin)
	if err != nil {
		return err
	}
	if fake != nil {
		defer fake.Close()
	}

	svc, closeStore, err := open(ctx, *path, github, log, stdout)
	if err != nil {
		return err
	}
	defer closeStore()
	handler, err := routes(svc, origin)
	if err != nil {
		return err
	}
	if fake != nil {
		handler = loopbackOnly(handler)
		fmt.Fprintf(stdout, "fake GitHub on %s\n", fake.URL())
	}
	fmt.Fprintf(stdout, "listening on %s\n", origin)
	return serve(ctx, listener, handler, svc, log)
}

// serve handles requests until ctx is done. After that, serve waits up to 10 seconds for the
// running requests to end.
func serve(
	ctx context.Context, listener net.Listener, handler http.Handler, svc *auth.Service, log *slog.Logger,
) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	background.Go(func() { svc.Run(ctx) })

	stopped := make(chan error, 1)
	background.Go(func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
