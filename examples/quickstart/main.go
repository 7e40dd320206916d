// Quickstart is a service with sign-in: a SQLite database, all calls of the library, the pages of package
// console, and a protected route of its own.
//
//	go run ./examples/quickstart [-addr 127.0.0.1:8080] [-db quickstart.db]
//
// The first start creates a super user, and prints the user's access key and secret. The keys of the
// service are in a file next to the database, such as quickstart.db.keys.
//
// The environment variables GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET are the credentials of an OAuth app at
// GitHub, whose callback URL is http://127.0.0.1:8080/api/v1/auth/github/callback. Without them, the service
// starts a fake GitHub, with which any visitor can sign in as any user. So it serves only this machine.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/oauth"
	"github.com/sallyport-go/auth/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "loopback `address` to listen on; port 0 takes a free one")
	path := flags.String("db", "quickstart.db", "SQLite database `file`")
	if err := flags.Parse(args); err != nil {
		return err
	} else if flags.NArg() > 0 || *path == "" {
		return errors.New("usage: quickstart [-addr HOST:PORT] [-db FILE]")
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	// The address is bound first, so that a second instance by mistake fails without touching the files.
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("-addr %s is not a loopback address, such as 127.0.0.1:8080", *addr)
	}
	origin := "http://" + listener.Addr().String()
	github, err := openGitHub(ctx, origin)
	if err != nil {
		return err
	}
	readKeys := keyfile.Read // with new keys, no user of an old database could sign in
	if _, err := os.Stat(*path); errors.Is(err, fs.ErrNotExist) {
		readKeys = keyfile.ReadOrCreate
	}
	keys, err := readKeys(*path+".keys", log)
	if err != nil {
		return err
	}
	db, err := sqlstore.OpenFile("sqlite", *path)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		return err
	}
	svc, err := auth.New(store, auth.Config{
		Issuer:          origin,
		SigningKeys:     keys.Signing,
		SealingKeys:     keys.Sealing,
		Credentials:     auth.CredentialConfig{Peppers: keys.Peppers},
		Tokens:          auth.TokenConfig{Scopes: []string{"notes:read", "notes:write"}},
		GitHub:          github,
		BrowserSessions: &auth.BrowserSessions{LandingPath: "/"},
		Proxies:         auth.NoProxies(), // browsers connect to the service directly
		Logger:          log,
	})
	if err != nil {
		return err
	}
	pages, err1 := console.Handler(svc, console.Config{
		Name: "Quickstart", Devices: true,
		Scopes: []console.Scope{{Name: "notes:read", Description: "Read notes"}, {Name: "notes:write"}},
	})
	cli := oauth.DeviceClient{ID: "cli", Name: "Command line", Scopes: []string{"notes:read"}}
	oauthCalls, err2 := oauth.New(svc, oauth.Config{
		DeviceClients: []oauth.DeviceClient{cli}, DevicePage: origin + "/device"})
	if err := cmp.Or(err1, err2, createFirstUser(ctx, svc, store, stdout)); err != nil {
		return err
	}
	mux := http.NewServeMux()
	svc.Mount(mux) // sign-in, GitHub, account, administration
	svc.Mount(mux, auth.GroupBrowser, auth.GroupHealth, auth.GroupVerifiers)
	oauthCalls.Mount(mux)
	mux.Handle("/", pages)
	mux.Handle("GET /notes", svc.RequireScope("notes:read", http.HandlerFunc(notes)))
	fmt.Fprintf(stdout, "listening on %s\n", origin)
	return serve(ctx, listener, onlyAt(listener.Addr().String(), mux), svc)
}

// notes is the route of the service itself. A limited access key needs the scope notes:read for it.
func notes(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprintln(w, "the notes of", caller.Username)
}

// onlyAt redirects requests for other host names. Browsers send cookies only to the host name that has set
// them, and a web page whose host name an attacker resolves to this machine (DNS rebinding) gets nothing.
func onlyAt(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Redirect(w, r, "http://"+host+r.URL.EscapedPath(), http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve handles requests until ctx is done. Then it waits up to 10 seconds for the running requests to end.
// The background work of the service ends last.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, svc *auth.Service) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	worked, stopped := make(chan struct{}), make(chan error, 1)
	go func() { svc.Run(working); close(worked) }()
	defer func() { stopWork(); <-worked }()
	server := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(working, 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// createFirstUser creates a super user in a new database. It prints the key first: if the program is stopped
// before it has created the user, the next start prints another key.
func createFirstUser(ctx context.Context, svc *auth.Service, store auth.UserStore, stdout io.Writer) error {
	users, err := store.ListUsers(ctx, auth.UserQuery{Limit: 1})
	if err != nil || len(users) > 0 {
		return err
	}
	pair := svc.Credentials().GeneratePair()
	key, secret := pair.AccessKey, pair.AccessSecret.Reveal()
	if _, err := fmt.Fprintf(stdout, "access_key=%s\naccess_secret=%s\n", key, secret); err != nil {
		return err
	}
	if _, err := svc.Bootstrap(ctx, auth.UserParams{Username: "admin"}, pair); err != nil {
		return fmt.Errorf("the access key above does not work, so start again: %w", err)
	}
	return nil
}

// openGitHub returns the configuration of the OAuth app that the environment names, or of a fake GitHub. The
// host name of the fake's accounts cannot exist, so no account at GitHub ever gets their access rights.
func openGitHub(ctx context.Context, origin string) (*auth.GitHubConfig, error) {
	id, secret := os.Getenv("GITHUB_CLIENT_ID"), os.Getenv("GITHUB_CLIENT_SECRET")
	cfg := &auth.GitHubConfig{ConnectScopes: []string{"read:user"}, ConnectedPage: "/?connected"}
	cfg.CallbackURL = origin + "/api/v1/auth/github/callback"
	if (id == "") != (secret == "") {
		return nil, errors.New("set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or none of them")
	}
	if id == "" {
		fake, err := githubtest.Start("", githubtest.Config{RedirectURLs: []string{cfg.CallbackURL}})
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { fake.Close() })
		id, secret = fake.Client()
		cfg.BaseURL, cfg.APIURL, cfg.Host = fake.URL(), fake.URL()+"/api/v3", "githubtest.invalid"
	}
	cfg.ClientID, cfg.ClientSecret = id, auth.NewSecret(secret)
	return cfg, nil
}
