// Sallyport is the command of an operator over the database of a service: package authcmd for SQLite,
// PostgreSQL, MariaDB and MySQL. Use it if the program of your service does not have the command itself.
//
//	SALLYPORT_DSN=file:app.db sallyport user list
//
// The environment variable SALLYPORT_DSN is the data source name of the database. It is never an argument,
// because other users of the machine can read arguments:
//
//	file:/srv/app/app.db                      SQLite
//	postgres://app:PASSWORD@db.example.com/app    PostgreSQL
//	app:PASSWORD@tcp(db.example.com)/app          MariaDB and MySQL
//
// If the service has peppers, prefixes, scopes or GitHub, name a configuration file in SALLYPORT_CONFIG
// instead. Otherwise, keys that sallyport makes do not work in the service. docs/command-line.md describes
// the file.
//
// The command init creates the tables. Every other command needs the tables of exactly this version, and
// changes none. So install sallyport in the version of the library that the service has.
package main

import (
	"context"
	"database/sql"
	"os"
	"os/signal"
	"syscall"

	"github.com/sallyport-go/auth/authcmd"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first Ctrl-C, the second one ends the program at once.
	context.AfterFunc(ctx, stop)
	// If the reader of the output has ended, the program must say that a new secret was lost.
	signal.Ignore(syscall.SIGPIPE)

	var db *sql.DB
	defer func() {
		if db != nil {
			_ = db.Close()
		}
	}()
	host := authcmd.Host{Name: "sallyport", Open: func(ctx context.Context,
		command string) (authcmd.Host, error) {
		cfg, err := readConfig(os.Getenv)
		if err != nil {
			return authcmd.Host{}, err
		}
		var opened authcmd.Host
		opened, db, err = open(ctx, cfg, command == "init")
		return opened, err
	}}
	return authcmd.Run(ctx, host, os.Args[1:], authcmd.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
