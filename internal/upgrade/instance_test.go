package upgrade_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// If dialectVariable is set, the test binary runs no tests but is an instance of a service. A later version
// starts the instance of a released version, so the three variables and the lines that the instance prints
// must not change.
const (
	dialectVariable = "UPGRADE_TEST_DIALECT"
	dsnVariable     = "UPGRADE_TEST_DSN"         // the path of a file for SQLite
	signingVariable = "UPGRADE_TEST_SIGNING_KEY" // 32 bytes or more
)

func TestMain(m *testing.M) {
	dialect := os.Getenv(dialectVariable)
	if dialect == "" {
		os.Exit(m.Run())
	}
	err := serve(context.Background(), sqlstore.Dialect(dialect), os.Getenv(dsnVariable))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// serve is an instance. It ends when its standard input does. If the database has no user, it creates a
// super user and prints the key of the user. When it accepts calls, it prints its URL.
func serve(ctx context.Context, dialect sqlstore.Dialect, dsn string) error {
	db, err := openDatabase(dialect, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		return err
	}
	key, err := auth.NewHS256Key("", []byte(os.Getenv(signingVariable)))
	if err != nil {
		return err
	}
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
	})
	if err != nil {
		return err
	}
	pair := svc.Credentials().GeneratePair()
	_, err = svc.Bootstrap(ctx, auth.UserParams{Username: "admin"}, pair)
	if err == nil {
		fmt.Printf("access_key=%s\naccess_secret=%s\n", pair.AccessKey, pair.AccessSecret.Reveal())
	} else if !errors.Is(err, auth.ErrBootstrapped) {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	server := &http.Server{Handler: mux}
	working, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = svc.Run(working) })
	running.Go(func() { _ = server.Serve(listener) })
	fmt.Printf("url=http://%s\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	err = server.Shutdown(ctx)
	stop()
	running.Wait()
	return err
}

func openDatabase(dialect sqlstore.Dialect, dsn string) (*sql.DB, error) {
	if dialect == sqlstore.SQLite {
		return sqlstore.OpenFile("sqlite", dsn)
	}
	driver := map[sqlstore.Dialect]string{sqlstore.Postgres: "pgx", sqlstore.MySQL: "mysql"}[dialect]
	db, err := sql.Open(driver, dsn)
	if err == nil {
		db.SetMaxOpenConns(5)
	}
	return db, err
}
