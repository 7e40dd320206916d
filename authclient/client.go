package authclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/weburl"
)

// Client signs in to one service and makes calls there. Make it with [New]. It is safe for concurrent use.
//
// The Client signs in when the first call needs a token, and again before the token expires, at a random time
// in the last fifth of its life. Only one sign-in runs at a time, and it serves all calls. A sign-in takes at
// most 30 seconds. While a renewal fails, the calls use the present token until it expires.
//
// After a failed sign-in, the Client pauses: it does not sign in again for the time that the service names in
// Retry-After, at most 10 minutes, or else for a second. If the service refuses the access key, each pause
// is twice as long as the one before, up to a minute. During a pause, a call without a token waits if its
// context allows, for at most [MaxWait]. If a sign-in fails, all calls that wait for it fail, unless the
// service has named a time in Retry-After: they then wait for this time, too.
//
// If the service rejects the token of a request, the Client signs in again and repeats the request once,
// provided that its body can be read again (http.Request.GetBody). The service rejects a token with 401 and
// the challenge invalid_token (RFC 6750, section 3.1), as auth.WriteError does. A 401 without this challenge
// is returned as it is. If the service rejects new tokens, too, the Client signs in at most once in five
// seconds, and returns the answers.
type Client struct {
	base   *url.URL // without a slash at the end of its path
	source Source

	transport http.RoundTripper
	now       func() time.Time

	signingIn chan struct{} // one-slot semaphore: its holder may sign in
	current   atomic.Pointer[heldToken]
	pause     atomic.Pointer[pause] // of the latest failed sign-in; nil if none has failed
}

// Config contains the settings of a [Client] that most programs need not change.
type Config struct {
	// Transport sends all requests. nil means [http.DefaultTransport].
	Transport http.RoundTripper

	// InsecureURL allows a base URL with plain http on every host. The access secret and the tokens are then
	// readable in the network. Set it only if the network protects the traffic, as an encrypting service mesh
	// does.
	InsecureURL bool

	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// New returns a client of the service at the base URL, such as "https://api.example.com". If the service is
// mounted below a path, the base URL ends with this path. The URL must be https, or http on loopback. New
// sends no request.
func New(baseURL string, source Source) (*Client, error) {
	return NewWithConfig(baseURL, source, Config{})
}

// NewWithConfig does the same as [New], with other settings.
func NewWithConfig(baseURL string, source Source, cfg Config) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("authclient: the base URL must be a URL such as https://api.example.com, " +
			"without user, query and fragment")
	case !weburl.IsSecure(u) && !cfg.InsecureURL:
		return nil, errors.New("authclient: the base URL must be https, or http on loopback, because other " +
			"people in the network could read the access secret; set Config.InsecureURL if the network " +
			"protects the traffic")
	case defaults.IsNil(source):
		return nil, errors.New("authclient: New needs a Source")
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	c := &Client{base: u, source: source, transport: cfg.Transport, now: cfg.Now,
		signingIn: make(chan struct{}, 1)}
	if c.transport == nil {
		c.transport = http.DefaultTransport
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// HTTP returns an HTTP client that sends the token with each request to the service: see
// [Client.RoundTripper]. The Timeout of the HTTP client is zero, so give each request a context with a
// deadline.
func (c *Client) HTTP() *http.Client { return &http.Client{Transport: c.RoundTripper()} }

// RoundTripper returns a transport that adds the token to each request whose URL has the scheme, host and
// port of the base URL, on every path. It sends all other requests unchanged, for example after a redirect
// to another host. A request that already has an Authorization header keeps it.
//
// An error of a sign-in is an error of the request. It wraps an [*Error] if the service has answered.
func (c *Client) RoundTripper() http.RoundTripper { return roundTripper{c} }

// TokenSource returns a source of tokens for other libraries. The source returns the Client's present token,
// and renews it before it expires. It signs in with ctx, so ctx must live as long as the source is used.
func (c *Client) TokenSource(ctx context.Context) oauth2.TokenSource { return tokenSource{c, ctx} }

// SignInSource returns a source that signs in at each call. It is for a library that keeps the token itself,
// and asks for another one after the service has rejected the token. An example is
// auth.RemoteVerifierConfig.TokenSource.
func (c *Client) SignInSource(ctx context.Context) oauth2.TokenSource { return signInSource{c, ctx} }

type signInSource struct {
	client *Client
	ctx    context.Context
}

// Token implements [oauth2.TokenSource].
func (s signInSource) Token() (*oauth2.Token, error) {
	return asOAuth2(s.client.replace(s.ctx, s.client.current.Load()))
}

type tokenSource struct {
	client *Client
	ctx    context.Context
}

// Token implements [oauth2.TokenSource].
func (s tokenSource) Token() (*oauth2.Token, error) {
	return asOAuth2(s.client.token(s.ctx))
}

func asOAuth2(t *heldToken, err error) (*oauth2.Token, error) {
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.text, TokenType: "Bearer", Expiry: t.issued.Add(t.lifetime)}, nil
}
