//go:build unix

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// client calls a service until it is told to stop, and counts the responses.
type client struct {
	svc     *auth.Service
	handler http.Handler
	pair    auth.KeyPair

	good, away atomic.Int64 // responses with status 200 and 503
	registered []string     // users that the service reported as created
	token      string       // latest access token
}

func (c *client) use(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		body, err := json.Marshal(map[string]string{"access_key": c.pair.AccessKey,
			"access_secret": c.pair.AccessSecret.Reveal()})
		if err != nil {
			return err
		}
		answer, err := c.ask(http.MethodPost, "/auth/users/login", string(body))
		if err != nil {
			return err
		}
		if answer["token"] != nil {
			c.token = answer["token"].(string)
		}
		if _, err := c.ask(http.MethodGet, "/auth/user", ""); err != nil {
			return err
		}
		made, err := c.svc.Register(context.Background(), byHost.By,
			auth.UserParams{Username: rand.Text()})
		if err == nil {
			c.registered = append(c.registered, made.User.ID)
		} else if status, _ := auth.ErrorStatus(err); status != http.StatusServiceUnavailable {
			return err
		}
	}
}

// ask sends a request. It returns the fields of the response, or nil if the status is 503.
func (c *client) ask(method, path, body string) (map[string]any, error) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.token)
	w := httptest.NewRecorder()
	began := time.Now()
	c.handler.ServeHTTP(w, r)
	if took := time.Since(began); took > time.Minute {
		return nil, fmt.Errorf("%s took %v", path, took)
	}
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		return nil, err
	}
	switch w.Code {
	case http.StatusOK:
		c.good.Add(1)
		return answer, nil
	case http.StatusServiceUnavailable:
		c.away.Add(1)
		if len(answer) != 1 || answer["detail"] == "" {
			return nil, fmt.Errorf("%s: a 503 that is not as the contract says: %s", path, w.Body)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
}

func TestPostgresIsRestartedUnderLoadAndTheServiceRecoversByItself(t *testing.T) {
	t.Parallel()
	server := newOwnPostgres(t)
	connector, err := postgresConnector(server.dsn, "")
	require.NoError(t, err)
	db := openConnector(t, connector, 8)
	store, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.Postgres})
	require.NoError(t, err)
	signing, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{signing},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(t, err)

	clients := make([]*client, 8)
	errs := make([]error, len(clients))
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		made, err := svc.Register(context.Background(), byHost.By,
			auth.UserParams{Username: rand.Text()})
		require.NoError(t, err)
		token, err := svc.SignIn(context.Background(), made.User.ID, auth.LoginOptions{})
		require.NoError(t, err)
		clients[i] = &client{svc: svc, handler: svc.Handler(), pair: made.Pair,
			token: token.Bearer.Reveal()}
		all.Go(func() { errs[i] = clients[i].use(stop) })
	}
	defer func() {
		close(stop)
		all.Wait()
		require.NoError(t, errors.Join(errs...))
		requireKept(t, store, clients)
	}()

	more(t, clients, func(c *client) int64 { return c.good.Load() })
	for _, mode := range []string{"fast", "immediate"} {
		server.stop(t, mode)
		more(t, clients, func(c *client) int64 { return c.away.Load() })
		server.start(t)
		more(t, clients, func(c *client) int64 { return c.good.Load() })
	}
}

// more waits until each client has received at least five more responses of one kind. The function
// answers returns how many responses of this kind a client has received.
func more(t *testing.T, clients []*client, answers func(*client) int64) {
	t.Helper()
	for _, c := range clients {
		enough := answers(c) + 5
		require.Eventually(t, func() bool { return answers(c) >= enough }, time.Minute,
			time.Millisecond)
	}
}

// requireKept requires that everything that the service acknowledged still exists.
func requireKept(t *testing.T, store *sqlstore.Store, clients []*client) {
	t.Helper()
	for _, c := range clients {
		answer, err := c.ask(http.MethodGet, "/auth/user", "")
		require.NoError(t, err)
		require.NotEmpty(t, answer["user_id"])
		require.NotEmpty(t, c.registered)
		for _, id := range c.registered {
			_, err := store.FindUser(context.Background(), id)
			require.NoError(t, err)
		}
	}
}
