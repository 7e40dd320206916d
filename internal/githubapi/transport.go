package githubapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/text"
)

// hostsClient is what error messages call the host's HTTP client.
const hostsClient = "GitHubConfig.HTTPClient"

// maxBody is the maximum length of an answer of GitHub, in bytes.
const maxBody = 1 << 20

// CallError means that a call got no answer from GitHub, or an answer that cannot be used.
type CallError struct {
	Action string // what failed, such as "calling GitHub: GET /user"
	Err    error  // the cause; may be nil. Its text has neither the URL of the call nor GitHub's answer
}

// Error returns a message with the action and the cause.
func (e *CallError) Error() string {
	if e.Err == nil {
		return "auth: " + e.Action
	}
	return "auth: " + e.Action + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// IsFailure reports whether a call to GitHub is the cause of err.
func IsFailure(err error) bool {
	var failed *CallError
	var status *StatusError
	return errors.As(err, &failed) || errors.As(err, &status)
}

// answeredKey is the key of the *atomic.Bool that WithAnswerMark puts into a context.
type answeredKey struct{}

// WithAnswerMark returns a context for [HasAnswered].
func WithAnswerMark(ctx context.Context) context.Context {
	return context.WithValue(ctx, answeredKey{}, new(atomic.Bool))
}

// HasAnswered reports whether GitHub has answered a call that was made with ctx, or with a context
// that was derived from ctx. It returns false unless [WithAnswerMark] has returned ctx, or a context
// from which ctx was derived.
func HasAnswered(ctx context.Context) bool {
	mark, ok := ctx.Value(answeredKey{}).(*atomic.Bool)
	return ok && mark.Load()
}

// boundedTransport sends requests with the host's transport. It adds the headers that every call to
// GitHub has, and limits the length of answers.
type boundedTransport struct {
	base http.RoundTripper
}

func (t boundedTransport) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer callback.Recover(hostsClient, func(failure error) { response, err = nil, failure })
	r = r.Clone(r.Context()) // a RoundTripper must not change its request
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Header.Set("User-Agent", "sallyport-auth")
	response, err = t.base.RoundTrip(r)
	if err != nil {
		return nil, text.ShortError(err, text.MaxErrorText) // net/http quotes a malformed answer in full
	}
	if mark, ok := r.Context().Value(answeredKey{}).(*atomic.Bool); ok {
		mark.Store(true)
	}
	// Redirects are not followed, so nobody needs Location. If net/http cannot parse a Location, it
	// quotes the Location in an error.
	response.Header.Del("Location")
	response.Body = &boundedBody{body: response.Body, left: maxBody}
	return response, nil
}

// boundedBody is the body of an answer, with a limit on its length. A read beyond the limit returns
// an error other than io.EOF: with io.EOF, a truncated answer would look complete. boundedBody also
// converts a panic of the host's transport into an error, because x/oauth2 would not recover from
// the panic.
type boundedBody struct {
	body io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (n int, err error) {
	defer callback.Recover(hostsClient, func(failure error) { n, err = 0, failure })
	if b.left <= 0 {
		return 0, errors.New("GitHub's answer is too long")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err = b.body.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *boundedBody) Close() (err error) {
	defer callback.Recover(hostsClient, func(failure error) { err = failure })
	return b.body.Close()
}

// UserTransport is an [http.RoundTripper] that adds a user's token to requests for one origin. If
// Token returns an error, the request fails with this error.
type UserTransport struct {
	Token  func(ctx context.Context) (string, error)
	Base   http.RoundTripper
	Origin *url.URL
}

// RoundTrip sends the request. Each hop of a redirect is a request of its own, so the token does not
// follow a redirect to another origin.
func (t UserTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // set for an earlier hop of a redirect
	if r.URL.Scheme == t.Origin.Scheme && r.URL.Host == t.Origin.Host &&
		(r.Host == "" || r.Host == r.URL.Host) {
		token, err := t.Token(r.Context())
		if err != nil {
			if r.Body != nil {
				r.Body.Close() // as a RoundTripper must
			}
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return t.Base.RoundTrip(r)
}
