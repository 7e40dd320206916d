package wiretest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// transport is an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// withTransport returns the verifiers whose calls fail as the transport says: one cannot fetch the keys, and
// the other one cannot fetch the revocations. The URL of the keys has a query.
func (f *following) withTransport(t *testing.T, fails transport) map[string]*auth.RemoteVerifier {
	return map[string]*auth.RemoteVerifier{
		"keys": f.another(t, func(cfg *auth.RemoteVerifierConfig) {
			cfg.JWKSURL += "?sig=query-secret"
			cfg.HTTPClient = &http.Client{Transport: fails}
		}),
		"revocations": f.another(t, func(cfg *auth.RemoteVerifierConfig) {
			cfg.JWKSURL, cfg.JWKS = "", f.svc.Tokens().JWKS()
			cfg.HTTPClient = &http.Client{Transport: fails}
		}),
	}
}

// A host can find out why the issuer could not be asked.
func TestTheErrorsOfTheHTTPClientAreWrapped(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	refused := httptest.NewServer(nil)
	refused.Close()
	address := strings.TrimPrefix(refused.URL, "http://")
	dial := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	for name, v := range f.withTransport(t, dial.RoundTrip) {
		_, err := v.Verify(t.Context(), token.Bearer.Reveal())
		var failed *net.OpError
		require.ErrorAs(t, err, &failed, name)
		require.Equal(t, "dial", failed.Op, name)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, name)
	}
	timeout := func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded }
	for name, v := range f.withTransport(t, timeout) {
		_, err := v.Verify(t.Context(), token.Bearer.Reveal())
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		var failed net.Error
		require.ErrorAs(t, err, &failed, name)
		require.True(t, failed.Timeout(), name)
	}
}

// Attack: the transport of a host quotes the request in its errors, as a *url.Error does. No access token and
// no query of a URL gets into the error of Verify or into the log.
func TestTheErrorsOfTheHTTPClientShowNoSecret(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	quotes := func(r *http.Request) (*http.Response, error) {
		failure := &url.Error{Op: "Get", URL: r.URL.String(), Err: net.ErrClosed}
		return nil, fmt.Errorf("proxy: %v: %w", r.Header, failure)
	}
	for name, v := range f.withTransport(t, quotes) {
		_, err := v.Verify(t.Context(), token.Bearer.Reveal())
		require.ErrorIs(t, err, net.ErrClosed, name)
		for _, text := range []string{err.Error(), f.seen.String()} {
			require.NotContains(t, text, "eyJ", name)
			require.NotContains(t, text, "query-secret", name)
			require.NotContains(t, text, "nonce=", name)
		}
	}
}

// Attack: the HTTP client has a token of its own, which is rejected. The caller of the verifier has a good
// token, so the answer is 503 and no token is called rejected.
func TestARefusalOfTheHTTPClientIsNoRefusalOfTheCaller(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	for _, refusal := range []error{
		auth.ErrTokenRejected, auth.ErrTokenMissing, auth.ErrInvalidCredentials, auth.ErrNotFound, auth.ErrInvalid,
		auth.ErrInsufficientScope, &auth.ThrottledError{RetryAfter: time.Hour}, &auth.InvalidError{Field: "x"},
		&auth.InsufficientScopeError{Scope: "x"},
	} {
		fails := func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sign in: %w", refusal)
		}
		for name, v := range f.withTransport(t, fails) {
			_, err := v.Verify(t.Context(), token.Bearer.Reveal())
			require.Error(t, err, name)
			require.NotErrorIs(t, err, auth.ErrTokenRejected, name)
			require.Equal(t, unknown, statusAt(v, token), "%s: %v", name, refusal)
		}
	}
	require.NotContains(t, f.seen.String(), "token.rejected", "no event says that the token was rejected")
}
