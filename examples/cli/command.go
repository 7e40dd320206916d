package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// command runs the commands for one service.
type command struct {
	service string // URL without a slash at the end
	tokens  tokenFile
	out     io.Writer
	client  *http.Client
}

func newCommand(service, directory string, out io.Writer) (*command, error) {
	service = strings.TrimRight(service, "/")
	u, err := url.Parse(service)
	if err != nil || u.Host == "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return nil, errors.New("-service must be an https URL: other people could read the token on the way")
	}
	client := &http.Client{Timeout: 30 * time.Second,
		// A redirect would take the codes or the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &command{service, tokenFile{directory}, out, client}, nil
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// login signs a person in. The person approves the command in a browser, on this machine or on another one.
func (c *command) login(ctx context.Context) error {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, c.client)
	cfg := oauth2.Config{
		ClientID: "cli",
		Endpoint: oauth2.Endpoint{
			DeviceAuthURL: c.service + "/auth/device",
			TokenURL:      c.service + "/auth/token",
			AuthStyle:     oauth2.AuthStyleInParams,
		},
	}
	codes, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return fmt.Errorf("cannot begin to sign in: %w", err)
	}
	fmt.Fprintf(c.out, "Open %s\nand type the code %s\n", codes.VerificationURI, codes.UserCode)
	token, err := cfg.DeviceAccessToken(ctx, codes) // waits until the person has decided
	if err != nil {
		return explain(err)
	}
	if err := c.tokens.save(c.service, token); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "You are signed in.")
	return nil
}

// explain returns the error of a sign-in in words for the person.
func explain(err error) error {
	var refused *oauth2.RetrieveError
	switch {
	case errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &refused) && refused.ErrorCode == "expired_token":
		return errors.New("nobody approved the code in time: try again")
	case errors.As(err, &refused) && refused.ErrorCode == "access_denied":
		return errors.New("the sign-in was denied in the browser")
	}
	return fmt.Errorf("cannot sign in: %w", err)
}

// whoami prints the name of the person.
func (c *command) whoami(ctx context.Context) error {
	var user struct {
		Username string `json:"username"`
	}
	if err := c.call(ctx, http.MethodGet, "/auth/user", &user); err != nil {
		return err
	}
	fmt.Fprintln(c.out, user.Username)
	return nil
}

// logout revokes the token and removes it. If the service does not know the token any more, the person is
// signed out already.
func (c *command) logout(ctx context.Context) error {
	err := c.call(ctx, http.MethodPost, "/auth/logout", nil)
	if err != nil && !errors.Is(err, errSignedOut) {
		return err
	}
	return c.tokens.remove()
}

// errSignedOut means that there is no token, or that the service has rejected it.
var errSignedOut = errors.New("you are not signed in: run cli login")

// call makes a call with the token, and decodes the answer.
func (c *command) call(ctx context.Context, method, path string, answer any) error {
	token, err := c.tokens.load(c.service)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.service+path, nil)
	if err != nil {
		return err
	}
	token.SetAuthHeader(request)
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return errSignedOut
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the service answers %s", response.Status)
	case answer == nil:
		return nil
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(answer)
}
