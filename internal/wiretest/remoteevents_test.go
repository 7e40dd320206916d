package wiretest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// get sends a request with the token through the middleware of the verifier.
func (s *keyServer) get(token string) response {
	handler := s.verifier.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "a report")
	}))
	return send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+token,
		"User-Agent", "curl", "X-Request-Id", "request-1")
}

// rejectedTokens returns a token for each reason for which a RemoteVerifier rejects tokens, by the
// reason in the event.
func (s *keyServer) rejectedTokens(t *testing.T) map[string]string {
	forge := func(changes map[string]any) string {
		return s.Forge(t, s.header(nil), s.claims(t, changes))
	}
	now := s.clock.Now()
	hs := authtest.NewSigners(t)["HS256"]
	return map[string]string{
		"for another audience":       forge(map[string]any{"aud": issuer}),
		"from another issuer":        forge(map[string]any{"iss": issuer + "/"}),
		"expired":                    forge(map[string]any{"iat": now.Unix() - 60, "exp": now.Unix() - 1}),
		"issued too long ago":        forge(map[string]any{"iat": now.Unix() - 901}),
		"signature":                  s.token.Bearer.Reveal()[:len(s.token.Bearer.Reveal())-8] + "AAAAAAAA",
		"malformed":                  "!rubbish!",
		`no such key: kid "made-up"`: s.ofUnknownKey(t, "made-up"),
		`no such key: kid "of-hs256"`: hs.Forge(t, `{"alg":"HS256","kid":"of-hs256","typ":"JWT"}`,
			s.claims(t, nil)),
		"no such key: kid is not a key ID": s.ofUnknownKey(t, `x\nlevel=ERROR msg=forged`),
	}
}

func TestARemoteVerifierEmitsAnEventForEachRejectedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got authtest.EventRecord
		s := newKeyServer(t)
		events := auth.NewEventLog(auth.EventLogConfig{OnEvent: got.Add, Now: s.clock.Now,
			Logger: slog.New(slog.DiscardHandler)})
		s = newKeyServer(t, func(cfg *auth.RemoteVerifierConfig) {
			cfg.MaxAge = 15 * time.Minute
			cfg.Events, cfg.Proxies = events, auth.NoProxies()
		})
		require.Equal(t, http.StatusOK, s.get(s.token.Bearer.Reveal()).status)
		for reason, token := range s.rejectedTokens(t) {
			require.Equal(t, http.StatusUnauthorized, s.get(token).status)
			rejected := deliverOne(t, events, &got)
			require.Equal(t, eventkind.TokenRejected, rejected.Kind)
			require.Equal(t, reason, rejected.Reason)
			require.Equal(t, netip.MustParseAddr("192.0.2.1"), rejected.Client.Address)
			require.Equal(t, "curl", rejected.Client.UserAgent)
			require.Equal(t, "request-1", rejected.Client.RequestID)
			if reason == "issued too long ago" { // the token was valid earlier
				require.Equal(t, "u1", rejected.UserID)
				require.Equal(t, s.token.Session.ID, rejected.SessionID)
			} else {
				require.Empty(t, rejected.UserID+rejected.SessionID)
			}

			ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{RequestID: "call-1"})
			_, err := s.verifier.Verify(ctx, token)
			require.ErrorIs(t, err, auth.ErrTokenRejected)
			require.Equal(t, "call-1", deliverOne(t, events, &got).Client.RequestID)
		}
		require.Equal(t, http.StatusUnauthorized, s.get("").status)
		require.Equal(t, http.StatusUnauthorized, send(s.verifier.Authenticate(http.NotFoundHandler()),
			http.MethodGet, "/", "").status)
		require.Equal(t, "malformed", deliverOne(t, events, &got).Reason, "no event for a missing token")
		require.Empty(t, s.log.String())
	})
}

// deliverOne delivers the queued events, and returns the only one.
func deliverOne(t *testing.T, events *auth.EventLog, got *authtest.EventRecord) auth.Event {
	t.Helper()
	all := got.Deliver(t, events)
	require.Len(t, all, 1)
	return all[0]
}

// By default, the log says why a token was rejected, for example because of the audience.
func TestWithoutAnEventLogTheLoggerGetsTheRejections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = 15 * time.Minute })
		for reason, token := range s.rejectedTokens(t) {
			s.log.Reset()
			require.Equal(t, http.StatusUnauthorized, s.get(token).status)
			line := s.log.String()
			require.Equal(t, 1, strings.Count(line, "\n"), line)
			require.Contains(t, line, `level=WARN msg="auth: token.rejected"`)
			require.Contains(t, strings.ReplaceAll(line, `\"`, `"`), reason)
			require.NotContains(t, line, token)
			require.NotContains(t, line, "forged")
		}
	})
}

func TestHooksMeasureEachVerificationOfARemoteVerifier(t *testing.T) {
	t.Parallel()
	type call struct {
		status int
		cached bool
	}
	var calls authtest.Record[call]
	hook := func(_ context.Context, err error, cached bool, took time.Duration) {
		status := http.StatusOK
		if err != nil {
			status, _ = auth.ErrorStatus(err)
		}
		calls.Add(call{status, cached})
		require.GreaterOrEqual(t, took, time.Duration(0))
		panic("a hook must not fail a request")
	}
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t, func(cfg *auth.RemoteVerifierConfig) {
			hooks := auth.Hooks{Verify: hook}
			cfg.Events = auth.NewEventLog(auth.EventLogConfig{Hooks: hooks, Logger: cfg.Logger})
		})
		s.answers(func(*http.Request) (int, string, error) { return 0, "", errors.New("away") })
		s.get(s.long(t))
		s.good()
		time.Sleep(10 * time.Second)
		token := s.long(t)
		s.get(token)
		require.Equal(t, http.StatusOK, s.get(token).status)
		s.get("x")
		require.Equal(t, []call{{503, false}, {200, false}, {200, true}, {401, false}}, calls.Take())
	})
}

func TestRequestsThatCannotBeVerifiedAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		s.answers(func(*http.Request) (int, string, error) { return 200, `{"keys":[]}`, nil })
		require.Equal(t, http.StatusServiceUnavailable, s.get(s.token.Bearer.Reveal()).status)
		fetch, request, _ := strings.Cut(s.log.String(), "\n")
		require.Contains(t, fetch, `level=ERROR msg="auth: the issuer has no usable public key`)
		require.Contains(t, fetch, "HS256")
		require.Contains(t, request, `level=ERROR msg="auth: request failed" requests=1`)
		require.Contains(t, request, "HS256")
		require.Equal(t, http.StatusServiceUnavailable, s.get(s.token.Bearer.Reveal()).status)
		require.Equal(t, 1, strings.Count(s.log.String(), "request failed"))
		require.NotContains(t, s.log.String(), s.token.Bearer.Reveal())
	})
}

// While there are no keys, anyone can send the request that gets the line.
func TestTheLineOfAFailedRequestIsShortWhateverTheClientSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyServer(t)
		s.answers(func(*http.Request) (int, string, error) { return 0, "", errors.New("away") })
		long := strings.Repeat("x", 1<<20)
		h := s.verifier.Authenticate(http.NotFoundHandler())
		require.Equal(t, http.StatusServiceUnavailable, send(h, long, "/"+long, "",
			"Authorization", "Bearer "+s.token.Bearer.Reveal(), "X-Request-Id", long, "User-Agent", long,
			"X-Forwarded-For", long).status)
		require.Contains(t, s.log.String(), "request failed")
		require.Less(t, s.log.Len(), 4096)
	})
}
