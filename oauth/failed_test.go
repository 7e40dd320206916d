package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// unserved is an OAuth server without a network, for tests with the clock of synctest.
type unserved struct {
	people   *people
	handler  http.Handler
	pair     auth.KeyPair // of the user 1
	rejected int          // sign-ins that the service has rejected
}

func newUnserved(t *testing.T) *unserved {
	t.Helper()
	ada := auth.User{ID: "1", Username: "ada", IsActive: true}
	u := &unserved{people: &people{byID: map[string]auth.User{"1": ada}}}
	key, err := auth.NewHS256Key("", []byte("0123456789abcdef0123456789abcdef-oauth"))
	require.NoError(t, err)
	svc, err := auth.NewWithUsers(memstore.NewAccounts(), u.people, auth.Config{
		Issuer: "https://example.com", SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies(),
		Throttling: auth.Throttling{Off: true}, Logger: slog.New(slog.DiscardHandler),
		Hooks: auth.Hooks{SignIn: func(_ context.Context, _ auth.SignInMethod, err error, _ time.Duration) {
			if errors.Is(err, auth.ErrInvalidCredentials) {
				u.rejected++
			}
		}},
	})
	require.NoError(t, err)
	server, err := oauth.New(svc, oauth.Config{})
	require.NoError(t, err)
	u.handler = server.TokenHandler()
	u.pair, err = svc.Credentials().Issue(t.Context(), byHost, "1", auth.KeyOptions{})
	require.NoError(t, err)
	return u
}

// signIn returns the status of a sign-in. Each further argument is an Authorization header.
func (u *unserved) signIn(form url.Values, authorization ...string) int {
	r := httptest.NewRequest("POST", "/auth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	w := httptest.NewRecorder()
	u.handler.ServeHTTP(w, r)
	return w.Code
}

func (u *unserved) guess(secret string) int {
	return u.signIn(grant("client_id", u.pair.AccessKey, "client_secret", secret))
}

// The attack: wrong guesses lock a client out, or a pair is remembered for longer than two seconds.
func TestRejectedPairsLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnserved(t)
		right := client(u.pair, "grant_type", "client_credentials")
		for i := range 3000 {
			require.Equal(t, 401, u.guess(fmt.Sprint("wrong-", i)))
		}
		require.Equal(t, 401, u.guess("wrong-0"))
		require.Equal(t, 3001, u.rejected, "the memory is bounded, and each guess counts")
		require.Equal(t, 200, u.signIn(right))
		u.people.change("1", func(user *auth.User) bool { user.IsActive = false; return true })
		require.Equal(t, 401, u.signIn(right))
		u.people.change("1", func(user *auth.User) bool { user.IsActive = true; return true })
		require.Equal(t, 401, u.signIn(right), "for two seconds")
		time.Sleep(2 * time.Second)
		require.Equal(t, 200, u.signIn(right))
		require.Equal(t, 3002, u.rejected)
	})
}

// The attack: an attacker fills the memory, and guesses without being counted.
func TestOnlyTheSameGuessCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnserved(t)
		guess := func(name string, count int) (counted int) {
			before := u.rejected
			for i := range count {
				require.Equal(t, 401, u.guess(fmt.Sprint(name, i)))
			}
			return u.rejected - before
		}
		require.Equal(t, 1000, guess("early-", 1000))
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, 20, guess("late-", 20))
		time.Sleep(time.Second)
		require.Equal(t, 10, guess("last-", 10), "the memory is full")
		require.Zero(t, guess("late-", 20), "still remembered")
		require.Equal(t, 1000, guess("early-", 1000), "forgotten")
		require.Equal(t, 400, u.signInTwoWays(400), "neither part of a pair alone")
		before := u.rejected
		require.Equal(t, 401, u.guess(""))
		require.Equal(t, 401, u.signIn(grant("client_secret", "x")))
		for _, pair := range [][2]string{{"", "x"}, {"x", ""}, {"x\x00", "x"}, {"x", "x\xff"}} {
			require.Equal(t, 401, u.signIn(grant(), basic(pair[0], pair[1])))
		}
		require.Equal(t, before, u.rejected, "half a pair is no guess")
	})
}

// signInTwoWays sends pairs that have the same text at different places.
func (u *unserved) signInTwoWays(count int) (counted int) {
	before := u.rejected
	for i := range count / 2 {
		u.signIn(grant("client_id", fmt.Sprint("a", i), "client_secret", "bc"))
		u.signIn(grant("client_id", fmt.Sprint("a", i, "b"), "client_secret", "c"))
	}
	return u.rejected - before
}
