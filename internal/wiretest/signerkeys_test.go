package wiretest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// hostSigner is a signer of the host. Its field pin must never be printed.
type hostSigner struct {
	crypto.Signer
	sign atomic.Pointer[func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)] // nil for the Signer's
	pin  string
}

const signerPIN = "the-pin-of-the-token"

func (s *hostSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if sign := s.sign.Load(); sign != nil {
		return (*sign)(random, message, opts)
	}
	return s.Signer.Sign(random, message, opts)
}

// answer makes the signer call the function in place of signing, or sign again if it is nil.
func (s *hostSigner) answer(sign func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)) {
	if sign == nil {
		s.sign.Store(nil)
		return
	}
	s.sign.Store(&sign)
}

// newHostSigners returns a signer for each algorithm that a signer can have, with its key and the
// local key of the same private key.
func newHostSigners(t testing.TB) map[string]struct {
	signer     *hostSigner
	key, local auth.SigningKey
} {
	t.Helper()
	found := map[string]struct {
		signer     *hostSigner
		key, local auth.SigningKey
	}{}
	for alg, local := range authtest.NewSigners(t) {
		if private, ok := local.Secret.(crypto.Signer); ok {
			signer := &hostSigner{Signer: private, pin: signerPIN}
			key, err := auth.NewSignerKey(local.Key.ID(), signer)
			require.NoError(t, err)
			found[alg] = struct {
				signer     *hostSigner
				key, local auth.SigningKey
			}{signer, key, local.Key}
		}
	}
	require.Len(t, found, 2)
	return found
}

// liveSessions returns how many sessions the user has in the store.
func (f *fixture) liveSessions(user auth.User) int {
	f.t.Helper()
	sessions, err := f.store.ListSessions(f.t.Context(), user.ID, f.clock.Now())
	require.NoError(f.t, err)
	return len(sessions)
}

func TestLoginWithASignerKey(t *testing.T) {
	t.Parallel()
	for alg, s := range newHostSigners(t) {
		f := newFixture(t, func(_ *fixture, c *auth.Config) {
			c.SigningKeys, c.Tokens.Audiences = []auth.SigningKey{s.key}, []string{"https://b.example.com"}
		})
		answer := f.login(f.userPair)
		require.Equal(t, http.StatusOK, answer.status, alg)
		token := answer.json(t)["token"].(string)
		elsewhere, err := f.svc.Login(t.Context(), f.userPair,
			auth.LoginOptions{Audience: "https://b.example.com"})
		require.NoError(t, err)
		calls := 0
		s.signer.answer(func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
			calls++
			return nil, errors.New("the KMS is away")
		})
		require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
		require.Zero(t, calls, "only a sign-in calls the signer")

		remote, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{Issuer: issuer,
			Audience: "https://b.example.com", JWKS: f.svc.Tokens().JWKS(), Now: f.clock.Now})
		require.NoError(t, err)
		caller, err := remote.Verify(t.Context(), elsewhere.Bearer.Reveal())
		require.NoError(t, err)
		require.Equal(t, f.user.ID, caller.UserID)

		require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{s.local}))
		require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
		answer = f.login(f.userPair)
		require.Equal(t, http.StatusOK, answer.status, "the local key signs, although the KMS is away")
		require.Zero(t, calls)
	}
}

// A user must not get a token that no one can verify, and no session may be left without a token.
func TestASignerThatFailsIsA503AndLeavesNoSession(t *testing.T) {
	t.Parallel()
	others := newHostSigners(t)
	for alg, s := range newHostSigners(t) {
		f := newFixture(t, func(_ *fixture, c *auth.Config) { c.SigningKeys = []auth.SigningKey{s.key} })
		token := f.signIn(f.user)
		for name, sign := range map[string]func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error){
			"an error":  func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errors.New("access denied") },
			"not found": func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, auth.ErrNotFound },
			"rejected":  func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, auth.ErrInvalidCredentials },
			"throttled": func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
				return nil, &auth.ThrottledError{RetryAfter: 1}
			},
			"canceled":      func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, context.Canceled },
			"nothing":       func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil },
			"a short one":   func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return make([]byte, 63), nil },
			"a long one":    func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return make([]byte, 1<<20), nil },
			"zeros":         func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return make([]byte, 64), nil },
			"another key's": others[alg].signer.Signer.Sign,
			"another text's": func(random io.Reader, m []byte, opts crypto.SignerOpts) ([]byte, error) {
				m[0] ^= 1
				return s.signer.Signer.Sign(random, m, opts)
			},
			"a panic": func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic(fmt.Sprint(s.signer.pin)) },
			"Goexit":  func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { runtime.Goexit(); return nil, nil },
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				before := f.liveSessions(f.user)
				s.signer.answer(sign)
				defer s.signer.answer(nil)
				var answer response
				require.NotPanics(t, func() { answer = f.login(f.userPair) })
				require.Equal(t, http.StatusServiceUnavailable, answer.status)
				require.Equal(t, "Service temporarily unavailable: try again later", answer.json(t)["detail"])
				_, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
				status, _ := auth.ErrorStatus(err)
				require.Equal(t, http.StatusServiceUnavailable, status, err)
				require.ErrorContains(t, err, "auth: signing a token: the signer (*wiretest.hostSigner)")
				require.Equal(t, before, f.liveSessions(f.user))
				require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
			})
		}
		require.Equal(t, http.StatusOK, f.login(f.userPair).status)
		require.Contains(t, f.logLines("auth: request failed")[0], "cause=signer")
		require.Contains(t, f.logLines("requests succeed again")[0], "cause=signer")
		require.NotContains(t, f.log.String(), signerPIN)
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			require.NotContains(t, fmt.Sprintf(verb, s.key)+fmt.Sprintf(verb, []any{s.key}), signerPIN)
		}
	}
}

// A sign-in of a browser makes two signatures, the second for the cookie.
func TestABrowserWhoseCookieCannotBeSignedHasNoSession(t *testing.T) {
	t.Parallel()
	for alg, s := range newHostSigners(t) {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, c *auth.Config) {
			c.BrowserSessions = &auth.BrowserSessions{}
			c.SigningKeys = []auth.SigningKey{s.key}
		}})
		b := g.browser()
		b.signInByCookie("")
		user, err := g.store.FindUser(t.Context(), b.get("/auth/user").json(t)["user_id"].(string))
		require.NoError(t, err)
		require.Equal(t, 1, g.liveSessions(user), alg)
		for failing := range 2 {
			calls := 0
			s.signer.answer(func(random io.Reader, m []byte, opts crypto.SignerOpts) ([]byte, error) {
				if calls++; calls > failing {
					return nil, errors.New("the KMS is away")
				}
				return s.signer.Signer.Sign(random, m, opts)
			})
			other := g.browser()
			p := other.stay().get(startCall)
			require.Equal(t, http.StatusFound, p.status, p.body)
			p = other.get(other.callbackURL(p.header.Get("Location")))
			require.Equal(t, failing+1, calls)
			require.NotContains(t, p.header.Get("Set-Cookie"), "auth_session")
			require.Equal(t, http.StatusUnauthorized, other.get("/auth/user").status)
			require.Equal(t, 1, g.liveSessions(user))
		}
		s.signer.answer(nil)
	}
}

func TestASignerThatHangsHoldsNoRequest(t *testing.T) {
	t.Parallel()
	for _, s := range newHostSigners(t) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			key, err := auth.NewSignerKey("hanging", s.signer)
			require.NoError(t, err)
			f := newFixture(t, func(_ *fixture, c *auth.Config) {
				c.SigningKeys, c.Now = []auth.SigningKey{key}, time.Now
			})
			s.signer.answer(func(random io.Reader, m []byte, opts crypto.SignerOpts) ([]byte, error) {
				<-release
				return s.signer.Signer.Sign(random, m, opts)
			})
			began := time.Now()
			require.Equal(t, http.StatusServiceUnavailable, f.login(f.userPair).status)
			require.Equal(t, 4*time.Second, time.Since(began))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 5*time.Second, time.Since(began))
			sessions, err := f.store.ListSessions(t.Context(), f.user.ID, time.Now())
			require.NoError(t, err)
			require.Empty(t, sessions)
			close(release)
			synctest.Wait()
			require.Equal(t, http.StatusOK, f.login(f.userPair).status)
		})
		s.signer.answer(nil)
	}
}

func TestSetKeysTakesANewSignerOfTheSameKey(t *testing.T) {
	t.Parallel()
	s := newHostSigners(t)["ES256"]
	f := newFixture(t, func(_ *fixture, c *auth.Config) { c.SigningKeys = []auth.SigningKey{s.key} })
	token := f.signIn(f.user)
	replaced := func() int { return len(f.logLines("signing_keys.replaced")) }

	same, err := auth.NewSignerKey(s.key.ID(), s.signer)
	require.NoError(t, err)
	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{same}))
	require.Zero(t, replaced(), "a host may pass its keys at intervals")

	s.signer.answer(func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
		return nil, errors.New("the connection is closed")
	})
	again, err := auth.NewSignerKey(s.key.ID(), s.signer.Signer.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{again}))
	require.Equal(t, 1, replaced())
	require.NotContains(t, f.log.String(), signerPIN)
	require.Equal(t, http.StatusOK, f.login(f.userPair).status)
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)

	// A retired signer key verifies, and cannot be the key that signs.
	retired := again.RetiredAt(f.clock.Now())
	require.ErrorContains(t, f.svc.Tokens().SetKeys([]auth.SigningKey{retired}), "signs, and is retired")
	hs := authtest.NewSigners(t)["HS256"].Key
	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{hs, retired}))
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Contains(t, string(f.svc.Tokens().JWKS()), "sallyport_retired_at")
}
