package signing_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

// withoutTime removes the time from a line of the log.
func withoutTime(_ []string, attr slog.Attr) slog.Attr {
	if attr.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attr
}

// logged returns the lines that were logged since the last call.
func (s *issuer) logged() string {
	defer s.lines.Reset()
	return s.lines.String()
}

// An outage gives one line at its beginning, one when the last fetched keys become too old, and one
// at its end.
func TestAnOutageIsLoggedAtItsBeginningAndAtItsEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		require.Empty(t, s.logged(), "a fetch that succeeds is no news")
		s.fails()
		fetch := func() { s.current(); synctest.Wait() }
		time.Sleep(5 * time.Minute)
		for range 6 {
			fetch()
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, `level=ERROR msg="auth: the public keys cannot be fetched: the last fetched keys are `+
			`used for a day" url=https://api.example.com/jwks.json error="fetch the public keys: `+
			`Get \"https://api.example.com/jwks.json\": away"`+"\n", s.logged())
		time.Sleep(24 * time.Hour)
		for range 3 {
			fetch()
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, `level=ERROR msg="auth: the public keys cannot be fetched: no token is accepted" `+
			`url=https://api.example.com/jwks.json error="fetch the public keys: `+
			`Get \"https://api.example.com/jwks.json\": away"`+"\n", s.logged())
		s.answers(http.StatusOK, s.set)
		fetch()
		require.Equal(t, `level=INFO msg="auth: the public keys can be fetched again" `+
			`url=https://api.example.com/jwks.json failed_fetches=9 failing_for=24h1m30s `+
			`last_error="fetch the public keys: Get \"https://api.example.com/jwks.json\": away"`+"\n", s.logged())
		time.Sleep(5 * time.Minute)
		fetch()
		require.Empty(t, s.logged())
	})
}

func TestAnIssuerWithoutUsableKeysIsLogged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body, want string
	}{
		"an empty set": {`{"keys":[]}`, "it is empty, like that of an issuer with HS256 keys only"},
		"other keys": {`{"keys":[{"kty":"RSA","kid":"a"},{"kty":"EC","kid":"b\"","use":"enc"}]}`,
			`(key 1, kid \"a\": it must be EC and P-256, or OKP and Ed25519; key 2: kid must be 1 to 64`},
		"a secret": {`{"keys":[{"kty":"oct","kid":"a","k":"AQ"}]}`,
			`publishes a secret key, which must be replaced (key 1, kid \"a\")`},
	} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.answers(http.StatusOK, test.body)
			for range 3 {
				time.Sleep(5 * time.Minute)
				s.current()
				synctest.Wait()
			}
			lines := s.logged()
			require.Equal(t, 1, strings.Count(lines, "\n"), name)
			require.Contains(t, lines, `level=ERROR msg="auth: the issuer has no usable public key: no token `+
				`is accepted" url=https://api.example.com/jwks.json`, name)
			require.Contains(t, lines, test.want, name)

			s.answers(http.StatusOK, `{"keys":[{"kty":"RSA","kid":"another"}]}`)
			time.Sleep(5 * time.Minute)
			s.current()
			synctest.Wait()
			require.Equal(t, 1, strings.Count(s.logged(), "level=ERROR"), "another cause: %s", name)
		})
	}
}

func TestAfterAnAnswerWithoutKeysNoLineSaysThatKeysAreUsed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		for _, answer := range []func(){
			func() { s.answers(http.StatusOK, `{"keys":[]}`) },
			func() { s.answers(http.StatusNotFound, "") },
			func() { s.answers(http.StatusBadGateway, "") },
		} {
			answer()
			time.Sleep(5 * time.Minute)
			require.Nil(t, s.requireCurrent(0).ByID("ed"))
			synctest.Wait()
		}
		lines := s.logged()
		require.Equal(t, 2, strings.Count(lines, "level=ERROR"), lines)
		require.Equal(t, 2, strings.Count(lines, "no token is accepted"), lines)
	})
}

func TestIgnoredKeysAreLoggedOnceForEachSet(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *issuer) {
		fetch := func(members ...string) string {
			s.answers(http.StatusOK, strings.Replace(s.set, "]", ","+strings.Join(members, ",")+"]", 1))
			time.Sleep(5 * time.Minute)
			s.current()
			synctest.Wait()
			return s.logged()
		}
		rsa := `{"kty":"RSA","kid":"old"}`
		require.Equal(t, `level=WARN msg="auth: the JWK set has keys that are not used" `+
			`url=https://api.example.com/jwks.json `+
			`keys="key 2, kid \"old\": it must be EC and P-256, or OKP and Ed25519"`+"\n", fetch(rsa))
		require.Empty(t, fetch(rsa))
		many := make([]string, 60)
		for i := range many {
			many[i] = fmt.Sprintf(`{"kty":"RSA","kid":"%064d"}`, i)
		}
		line := fetch(many...)
		require.Contains(t, line, "; and 57 more")
		require.Less(t, len(line), 700, "the issuer cannot fill the log")
		s.answers(http.StatusOK, s.set)
		time.Sleep(5 * time.Minute)
		s.current()
		synctest.Wait()
		require.Empty(t, s.logged())
		require.NotEmpty(t, fetch(rsa), "ignored again")
	})
}

// The query of the URL can be a secret, such as the signature of a presigned URL.
func TestTheQueryOfTheURLIsInNoLineAndInNoError(t *testing.T) {
	t.Parallel()
	for _, answer := range []func(s *issuer){
		func(s *issuer) { s.fails() },
		func(s *issuer) { s.answers(http.StatusNotFound, "") },
		func(s *issuer) { s.answers(http.StatusBadGateway, "") },
		func(s *issuer) { s.answers(http.StatusOK, "<html>") },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newIssuer(t)
			answer(s)
			s.keys = signing.NewRemoteKeys(setURL+"?sig=canary#canary", &http.Client{Transport: s}, s.log)
			_, _, err := s.current()
			require.ErrorContains(t, err, setURL)
			require.NotContains(t, err.Error(), "canary")
			lines := s.logged()
			require.Contains(t, lines, setURL)
			require.NotContains(t, lines, "canary")
		})
	}
}

// A panic in a goroutine of this package would end the process. A fetch that does not end would block
// all requests.
func TestALoggerThatPanicsOrExitsDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	for _, fail := range []func(){func() { panic("oops") }, runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			s := newIssuer(t)
			s.keys = signing.NewRemoteKeys(setURL, &http.Client{Transport: s}, slog.New(failing{fail}))
			s.fails()
			_, _, err := s.current()
			require.ErrorContains(t, err, "away")
			s.answers(http.StatusOK, s.set)
			time.Sleep(10 * time.Second)
			s.requireKey(0)
		})
	}
}

// failing is a slog.Handler whose Handle calls a function that does not return.
type failing struct{ fail func() }

func (failing) Enabled(context.Context, slog.Level) bool { return true }

func (f failing) Handle(context.Context, slog.Record) error { f.fail(); return nil }

func (f failing) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f failing) WithGroup(string) slog.Handler { return f }
