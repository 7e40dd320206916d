package authcmd_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/memstore"
)

// A host passes os.Args[1:] and its own standard streams, and passes the result to os.Exit.
func Example() {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	store := memstore.New() // a host has a database instead
	cfg := auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.DiscardHandler),
	}
	svc, err := auth.New(store, cfg)
	if err != nil {
		log.Fatal(err)
	}
	host := authcmd.Host{Name: "exampled", Service: svc, Store: store, Config: cfg}
	command := func(line string) {
		stdio := authcmd.Stdio{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stdout}
		code := authcmd.Run(context.Background(), host, strings.Fields(line), stdio)
		fmt.Println("exit code:", code)
	}

	command("doctor")
	command("user delete alice")
	command("key add")
	// Output:
	// super-users: There is no active super user.
	// 	For a new store, run init. Otherwise, run recover for a user who is to be a super user.
	// exit code: 3
	// exampled: no user has the ID, the username or the e-mail address "alice"
	// exit code: 1
	// exampled: key add needs 1 argument, and got 0: exampled key add [flags] USER
	// Run 'exampled help key add' for usage.
	// exit code: 2
}
