// Notes is the command line of the service: see package notes.
//
//	notes login           sign in with a browser, on this machine or on another one
//	notes add "buy milk"
//	notes list [BEFORE]   list the newest 100 notes, or those before the note with this ID
//	notes delete ID
//	notes logout
//
// A program, such as a cron job, signs in with an access key instead: set NOTES_ACCESS_KEY and
// NOTES_ACCESS_SECRET. NOTES_URL is the URL of the service.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/examples/notes"
	"golang.org/x/oauth2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	directory, err := os.UserConfigDir()
	if err == nil {
		service := strings.TrimSuffix(cmp.Or(os.Getenv("NOTES_URL"), "http://127.0.0.1:8080"), "/")
		err = command{service, filepath.Join(directory, "notes"), os.Stdout}.run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

// command runs the commands for one service.
type command struct {
	service   string // URL
	directory string // has a file for each service, with the token of the person
	out       io.Writer
}

func (c command) run(ctx context.Context, args []string) error {
	// New also refuses a URL with which other people could read the token on the way.
	client, err := authclient.New(c.service, authclient.FromEnv("NOTES_ACCESS_KEY", "NOTES_ACCESS_SECRET"))
	if err != nil {
		return fmt.Errorf("NOTES_URL: %w", err)
	}
	verb, argument, _ := strings.Cut(strings.Join(args, " "), " ")
	if verb == "login" {
		return c.login(ctx)
	}
	api := client.HTTP()
	if os.Getenv("NOTES_ACCESS_KEY") == "" {
		var token oauth2.Token
		if text, _ := os.ReadFile(c.file()); json.Unmarshal(text, &token) != nil || !token.Valid() {
			return errors.New("you are not signed in: run notes login, and then list, add TEXT or delete ID")
		}
		api = oauth2.NewClient(ctx, oauth2.StaticTokenSource(&token))
	}
	api.Timeout = 30 * time.Second
	// A redirect would take the token elsewhere.
	api.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	switch {
	case verb == "list":
		var page struct{ Notes []notes.Note }
		err := c.call(ctx, api, http.MethodGet, "/notes?before="+url.QueryEscape(argument), nil, &page)
		for _, note := range page.Notes {
			fmt.Fprintf(c.out, "%s %s %q\n", note.ID, note.CreatedAt.Local().Format(time.DateTime), note.Text)
		}
		return err
	case verb == "add" && argument != "":
		return c.call(ctx, api, http.MethodPost, "/notes", map[string]string{"text": argument}, nil)
	case verb == "delete" && argument != "":
		return c.call(ctx, api, http.MethodDelete, "/notes/"+url.PathEscape(argument), nil, nil)
	case verb == "logout":
		return errors.Join(c.call(ctx, api, http.MethodPost, "/auth/logout", nil, nil), os.Remove(c.file()))
	}
	return errors.New("say what to do: login, list, add TEXT, delete ID or logout")
}

// call makes a call of the API, and decodes the answer if it is a success.
func (c command) call(ctx context.Context, api *http.Client, method, path string, body, answer any) error {
	text, err1 := json.Marshal(body)
	request, err2 := http.NewRequestWithContext(ctx, method, c.service+path, strings.NewReader(string(text)))
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := api.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content := json.NewDecoder(io.LimitReader(response.Body, 16<<20))
	if response.StatusCode >= 300 {
		var problem struct{ Detail string }
		_ = content.Decode(&problem) // a proxy answers in another form
		return fmt.Errorf("the service answers %q: %q", response.Status, problem.Detail)
	} else if answer == nil {
		return nil
	}
	return content.Decode(answer)
}

// login signs a person in with the device authorization grant (RFC 8628).
func (c command) login(ctx context.Context) error {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Timeout: 30 * time.Second})
	cfg := oauth2.Config{ClientID: notes.DeviceClient, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: c.service + "/auth/device", TokenURL: c.service + "/auth/token",
		AuthStyle: oauth2.AuthStyleInParams}}
	codes, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Open %s\nand type the code %s\n", codes.VerificationURI, codes.UserCode)
	token, err := cfg.DeviceAccessToken(ctx, codes) // waits until the person has decided
	if err != nil {
		return err
	}
	text, err := json.Marshal(token)
	return errors.Join(err, os.MkdirAll(c.directory, 0o700), os.WriteFile(c.file(), text, 0o600))
}

// file names the file with the token for this service. The token never goes to another service.
func (c command) file() string { return filepath.Join(c.directory, url.QueryEscape(c.service)) }
