// Command cli is a command line that signs a person in through a browser, with the device authorization
// grant (RFC 8628). Any OAuth library can do this; the command uses golang.org/x/oauth2.
//
//	cli -service https://notes.example.com login
//	cli -service https://notes.example.com whoami
//	cli -service https://notes.example.com logout
//
// The service must have the device client "cli": see oauth.Config.DeviceClients. The command keeps its token
// in the configuration directory of the user, in a file that only the user can read. The token is valid for
// some hours. Then the person signs in again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	configuration, err := os.UserConfigDir()
	if err == nil {
		err = run(ctx, os.Args[1:], filepath.Join(configuration, "sallyport-cli"), os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cli:", err)
		os.Exit(1)
	}
}

// run runs the command with the arguments. The directory has the token.
func run(ctx context.Context, args []string, directory string, out io.Writer) error {
	flags := flag.NewFlagSet("cli", flag.ContinueOnError)
	flags.SetOutput(out)
	service := flags.String("service", "http://127.0.0.1:8080", "URL of the service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := newCommand(*service, directory, out)
	if err != nil {
		return err
	}
	switch flags.Arg(0) {
	case "login":
		return c.login(ctx)
	case "whoami":
		return c.whoami(ctx)
	case "logout":
		return c.logout(ctx)
	}
	return errors.New("say what to do: login, whoami or logout")
}
