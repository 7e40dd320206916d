package githubapi

import (
	"errors"
	"io"
	"net/http"

	"github.com/sallyport-go/auth/internal/callback"
)

// hostsClient is what error messages call the host's HTTP client.
const hostsClient = "GitHubConfig.HTTPClient"

// maxBody is the maximum length of an answer of GitHub, in bytes.
const maxBody = 1 << 20

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
	if err == nil {
		// Redirects are not followed, so nobody needs Location. If net/http cannot parse a
		// Location, it quotes the Location in an error.
		response.Header.Del("Location")
		response.Body = &boundedBody{body: response.Body, left: maxBody}
	}
	return response, err
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
