package signing_test

import (
	"errors"
	"fmt"
	"io"
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

func TestAnAnswerWithoutKeysReplacesTheKeys(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"keys":[]}`, `{"keys":[{"kty":"RSA","kid":"ed"}]}`,
		`{"keys":[{"kty":"oct","k":"AQ"}]}`} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.answers(http.StatusOK, body)
			time.Sleep(5 * time.Minute)
			empty := s.requireCurrent(0)
			require.Nil(t, empty.ByID("ed"))
			same, err := s.keys.Newer(t.Context(), empty, time.Now())
			require.NoError(t, err, "the issuer has answered")
			require.Same(t, empty, same)
		})
	}
}

func TestAnAnswerThatIsNoKeySetKeepsTheKeys(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "<html>", `{"keys":null}`, strings.Repeat(" ", 1<<20)} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.answers(http.StatusOK, body)
			time.Sleep(5 * time.Minute)
			s.requireKey(0)
			require.Equal(t, 2, s.fetches)
		})
	}
}

func TestAnIssuerThatHasNeverHadKeysIsAnError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status     int
		body, want string
	}{
		{http.StatusOK, `{"keys":[]}`, ": the JWK set has no key of ES256 or EdDSA for signatures: it is " +
			"empty, like that of an issuer with HS256 keys only"},
		{http.StatusOK, `{"keys":[{"kty":"EC","kid":"a","key_ops":["encrypt"]}]}`, ": the JWK set has no key of " +
			`ES256 or EdDSA for signatures (key 1, kid "a": key_ops does not have "verify")`},
		{http.StatusOK, `{"keys":[{"kty":"EC","kid":"a","d":"AQ"}]}`,
			`: the JWK set publishes a secret key, which must be replaced (key 1, kid "a")`},
		{http.StatusNotFound, "", " answers with status 404: the issuer refuses to return its keys; check JWKSURL"},
		{http.StatusBadGateway, "", " answers with status 502"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newIssuer(t)
			s.answers(test.status, test.body)
			for range 2 {
				_, _, err := s.current()
				require.EqualError(t, err, "fetch the public keys: "+setURL+test.want)
			}
			require.Equal(t, 1, s.fetches)
		})
	}
}

func TestNoMoreOfTheAnswerIsReadThanASetMayHave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		endless := &spaces{}
		s.serve = func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: endless,
				Request: r}, nil
		}
		_, _, err := s.current()
		require.EqualError(t, err, "fetch the public keys: "+setURL+": more than 262144 bytes")
		require.True(t, endless.closed)
		require.LessOrEqual(t, endless.read, 256<<10+1)
	})
}

// spaces is a body of endlessly many spaces.
type spaces struct {
	read   int
	closed bool
}

func (s *spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	s.read += len(b)
	return len(b), nil
}

func (s *spaces) Close() error { s.closed = true; return nil }

func TestABodyThatBreaksOffIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.serve = func(r *http.Request) (*http.Response, error) {
			body := io.NopCloser(io.MultiReader(strings.NewReader(s.set), failingReader{}))
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body,
				Request: r}, nil
		}
		_, _, err := s.current()
		require.EqualError(t, err, "fetch the public keys: cut off")
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("cut off") }

func TestARedirectIsARefusalWhateverItsLocation(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"", "https://evil.example.com/jwks", "://", "\x7f"} {
		inBubble(t, func(t *testing.T, s *issuer) {
			s.serve = func(r *http.Request) (*http.Response, error) {
				require.Equal(t, setURL, r.URL.String(), "not followed")
				header := http.Header{}
				if location != "" {
					header.Set("Location", location)
				}
				return &http.Response{StatusCode: http.StatusFound, Header: header, Body: http.NoBody,
					Request: r}, nil
			}
			s.refusesForTooLong()
			require.Nil(t, s.requireCurrent(0).ByID("ed"))
			require.Equal(t, 4, s.fetches)
		})
	}
}

// net/http quotes a malformed answer in full. Each request without keys would copy the megabytes into
// its own error.
func TestTheErrorOfAMalformedAnswerIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.serve = func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed HTTP response %q", strings.Repeat("x", 3<<20))
		}
		_, _, err := s.current()
		require.ErrorContains(t, err, "malformed HTTP response")
		require.Less(t, len(err.Error()), 2048)
		require.Less(t, s.lines.Len(), 4096)
	})
}

func TestAnHTTPClientThatPanicsOrExitsDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	for want, fail := range map[string]func(){
		"auth: RemoteVerifierConfig.HTTPClient panicked: oops":         func() { panic("oops") },
		"fetch the public keys: the HTTP client called runtime.Goexit": runtime.Goexit,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newIssuer(t)
			s.serve = func(*http.Request) (*http.Response, error) { fail(); return nil, nil }
			_, _, err := s.current()
			require.EqualError(t, err, want)
			s.answers(http.StatusOK, s.set)
			time.Sleep(10 * time.Second)
			s.requireKey(0)
		})
	}
}

func TestWithoutAClientTheDefaultTransportIsUsed(t *testing.T) {
	t.Parallel()
	keys := signing.NewRemoteKeys("https://127.0.0.1:1/", nil, slog.New(slog.DiscardHandler))
	_, err := keys.Current(t.Context(), time.Now())
	require.ErrorContains(t, err, "127.0.0.1:1")
	keys = signing.NewRemoteKeys(":", nil, slog.New(slog.DiscardHandler))
	_, err = keys.Current(t.Context(), time.Now())
	require.ErrorContains(t, err, "missing protocol scheme")
}
