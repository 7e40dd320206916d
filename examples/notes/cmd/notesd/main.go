// Notesd is the service of package notes.
//
//	notesd -admin ada     create the first user, print the access key, and exit
//	notesd                serve http://127.0.0.1:8080, with the database notes.db
//
// The password of PostgreSQL is in PGPASSWORD or PGPASSFILE, because other users of the machine can read
// arguments. If OTEL_EXPORTER_OTLP_ENDPOINT is set, metrics and spans go to that OpenTelemetry collector.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/examples/notes"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/otelauth"
	"github.com/sallyport-go/auth/sqlstore"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "notesd:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg := auth.Config{Proxies: auth.NoProxies(), Logger: slog.New(slog.NewJSONHandler(stderr, nil))}
	flags := flag.NewFlagSet("notesd", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	dsn := flags.String("db", "notes.db", "SQLite `file`, or a postgres:// URL without a password")
	keyPath := flags.String("keys", "notes.keys", "`file` with the keys, which the first start makes")
	admin := flags.String("admin", "", "create the first user with this `name`, and exit")
	flags.StringVar(&cfg.Issuer, "url", "", "`origin` at which people reach it (default http://ADDR)")
	flags.Func("proxy", "`network` of the reverse proxy, such as 10.0.0.0/8", func(text string) error {
		network, err := netip.ParsePrefix(text)
		cfg.Proxies = auth.TrustProxies(network)
		return err
	})
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return cmp.Or(err, fmt.Errorf("%q is not an option: see notesd -h", flags.Arg(0)))
	}
	telemetry, stopTelemetry, err1 := startTelemetry(ctx)
	listener, err2 := net.Listen("tcp", *addr)
	db, store, table, err3 := open(ctx, *dsn)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	defer db.Close()
	defer func() { err = errors.Join(err, stopTelemetry()) }()
	cfg.Issuer = cmp.Or(cfg.Issuer, "http://"+listener.Addr().String())
	users, err1 := store.ListUsers(ctx, auth.UserQuery{Limit: 1})
	readKeys := keyfile.Read // with new keys, no user of an old database could sign in
	if err1 == nil && len(users) == 0 {
		readKeys = keyfile.ReadOrCreate
	}
	keys, err2 := readKeys(*keyPath, cfg.Logger)
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	cfg.SigningKeys, cfg.SealingKeys, cfg.Credentials.Peppers = keys.Signing, keys.Sealing, keys.Peppers
	cfg.Hooks = telemetry.Hooks()
	svc, err := notes.New(telemetry.Store(store), table, cfg)
	if err != nil {
		return err
	}
	if *admin != "" && len(users) > 0 {
		return errors.New("-admin creates the first user, and this database has users already")
	} else if *admin != "" {
		pair := svc.Auth.Credentials().GeneratePair() // printed first, so that an interruption loses no key
		fmt.Fprintf(stdout, "access_key=%s\naccess_secret=%s\n", pair.AccessKey, pair.AccessSecret.Reveal())
		_, err := svc.Auth.Bootstrap(ctx, auth.UserParams{Username: *admin}, pair)
		return err
	}
	if _, err := telemetry.Observe(svc.Auth); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "listening on", cfg.Issuer)
	return serve(ctx, listener, svc)
}

// open opens the database, and creates the tables that do not exist yet.
func open(ctx context.Context, dsn string) (*sql.DB, *sqlstore.Store, *notes.Table, error) {
	dialect, driver, openDB := sqlstore.SQLite, "sqlite", sqlstore.OpenFile
	if strings.HasPrefix(dsn, "postgres://") {
		dialect, driver, openDB = sqlstore.Postgres, "pgx", sql.Open
	}
	db, err := openDB(driver, dsn)
	if err != nil {
		return nil, nil, nil, err
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	store, err1 := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect})
	table, err2 := notes.OpenTable(ctx, db)
	return db, store, table, cmp.Or(err1, err2)
}

// startTelemetry exports to the collector that the environment names, until the returned function is called.
func startTelemetry(ctx context.Context) (*otelauth.Telemetry, func() error, error) {
	stop := func() error { return nil }
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		spans, err1 := otlptracehttp.New(ctx)
		metrics, err2 := otlpmetrichttp.New(ctx)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, nil, err
		}
		tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)))
		otel.SetTracerProvider(tracers)
		otel.SetMeterProvider(meters)
		stop = func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
		}
	}
	telemetry, err := otelauth.New(otelauth.Options{})
	return telemetry, stop, err
}

// serve handles requests until ctx is done. Then it ends the running ones, and at last the background work.
func serve(ctx context.Context, listener net.Listener, svc *notes.Service) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	worked, stopped := make(chan error, 1), make(chan error, 1)
	go func() { worked <- svc.Auth.Run(working) }()
	defer func() { stopWork(); <-worked }()
	server := &http.Server{Handler: otelhttp.NewHandler(svc, "notes"),
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
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
