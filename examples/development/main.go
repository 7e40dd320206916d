// Development is a small service with sign-in, its tests, and the parts that its developers need on their own
// machines: a fake GitHub, and users in a new database. Three pages quote it: docs/testing.md,
// docs/local-development.md and docs/secrets.md.
//
//	go run ./examples/development -local [-addr 127.0.0.1:8080] [-db app.db]
//
// Without -local, the service reads its secrets from the environment: see configFromEnvironment.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/sqlstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("development", flag.ContinueOnError)
	isLocal := flags.Bool("local", false, "serve this machine only, with a fake GitHub and new users")
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	path := flags.String("db", "app.db", "SQLite database `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	db, err := sqlstore.OpenFile("sqlite", *path)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		return err
	}
	if !*isLocal {
		cfg, err := configFromEnvironment(getenv)
		if err != nil {
			return err
		}
		cfg.Issuer, cfg.Proxies = getenv("ISSUER"), auth.NoProxies()
		return serve(ctx, listener, store, cfg, func(*auth.Service) error { return nil })
	}

	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("-local is only for a loopback address, such as 127.0.0.1:8080, not %s", *addr)
	}
	fake, err := githubtest.Start("", githubtest.Config{})
	if err != nil {
		return err
	}
	defer fake.Close()
	keys, err := keyfile.ReadOrCreate(*path+".keys", nil)
	if err != nil {
		return err
	}
	cfg := local(auth.Config{
		SigningKeys: keys.Signing, SealingKeys: keys.Sealing,
		Credentials: auth.CredentialConfig{Peppers: keys.Peppers},
	}, "http://"+listener.Addr().String(), fake)
	return serve(ctx, listener, store, cfg, func(svc *auth.Service) error {
		defer fmt.Fprintf(out, "listening on %s\n", cfg.Issuer)
		return seed(ctx, svc, *path+".admin", out)
	})
}

// serve makes the service, calls prepare, and serves until ctx is done.
func serve(
	ctx context.Context, listener net.Listener, store auth.Store, cfg auth.Config,
	prepare func(svc *auth.Service) error,
) error {
	svc, api, err := newAPI(store, cfg)
	if err != nil {
		return err
	}
	if err := prepare(svc); err != nil {
		return err
	}
	ran := make(chan struct{})
	go func() { svc.Run(ctx); close(ran) }()
	server := &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ran
	return nil
}
