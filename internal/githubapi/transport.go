package githubapi

import (
	"errors"
	"io"
	"net/http"

	"github.com/sallyport-go/auth/internal/callback"
)

// hostsClient names the host's setting that contains the code that sends a call. It is for errors.
const hostsClient = "GitHubConfig.HTTPClient"

// maxBody is how long an answer of GitHub can be, in bytes.
const maxBody = 1 << 20

// boundedTransport is the host's transport with the headers that every call to GitHub has, and
// with answers of bounded length.
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
	if err == nil {
		// The client follows no redirect. If net/http cannot parse a Location, it quotes the
		// Location in an error.
		response.Header.Del("Location")
		response.Body = &boundedBody{body: response.Body, left: maxBody}
	}
	return response, err
}

// boundedBody returns an error, not io.EOF, to a reader that asks for more than the limit. With
// io.EOF, a cut answer could be read as a complete one. boundedBody also converts a panic into an
// error, because the body belongs to the host's transport, and x/oauth2 reads the body without
// recovering from a panic.
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
