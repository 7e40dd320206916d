package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	_ "modernc.org/sqlite" // or the SQLite driver of your choice

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

func Example() {
	ctx := context.Background()

	// For a database file, use the recommended settings:
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	// Without this limit, each connection would have its own in-memory database.
	db.SetMaxOpenConns(1)

	store, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		log.Fatal(err)
	}

	_, err = store.FindUser(ctx, "nobody")
	fmt.Println(errors.Is(err, auth.ErrNotFound))
	// Output: true
}
