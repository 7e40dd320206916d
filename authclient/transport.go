package authclient

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/text"
)

// roundTripper adds the token of the client to requests.
type roundTripper struct{ client *Client }

// RoundTrip implements [http.RoundTripper].
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	c := t.client
	if !c.isOwn(r) || len(r.Header["Authorization"]) > 0 {
		return c.transport.RoundTrip(r)
	}
	token, err := c.token(r.Context())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := c.transport.RoundTrip(withToken(r, token))
	if err != nil || !rejectsToken(response) {
		return response, err
	}
	again, ok := repeatable(r)
	if !ok {
		return response, nil
	}
	if c.current.Load() == token && token.isYoung(c.now()) {
		closeBody(again)
		return response, nil
	}
	newer, err := c.replace(r.Context(), token)
	if err != nil {
		closeBody(again)
		return response, nil // the answer tells the caller more than the failed sign-in
	}
	// Reading the rest would let the connection be used again, but the rest may never arrive.
	response.Body.Close()
	return c.transport.RoundTrip(withToken(again, newer))
}

// rejectsToken reports whether the service rejects the token of a request (RFC 6750, section 3.1). A 401
// without this challenge has another reason, such as a wrong password in a form. A repeated request would do
// harm then, and each sign-in would open one more session.
func rejectsToken(response *http.Response) bool {
	return response.StatusCode == http.StatusUnauthorized &&
		slices.ContainsFunc(response.Header["Www-Authenticate"], func(challenge string) bool {
			return strings.Contains(challenge, `error="invalid_token"`)
		})
}

// isOwn reports whether the request goes to the service. Its scheme, host and port must be those of the base
// URL. The transport answers a request without a URL or a header with an error.
func (c *Client) isOwn(r *http.Request) bool {
	return r.URL != nil && r.Header != nil && r.URL.Scheme == c.base.Scheme && hostOf(r.URL) == hostOf(c.base)
}

// hostOf returns the host of a URL in lower case, with the port unless it is the default port of the scheme.
func hostOf(u *url.URL) string {
	port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	return text.FoldASCII(strings.TrimSuffix(strings.TrimSuffix(u.Host, ":"), port))
}

// withToken returns a copy of the request with the token. A RoundTripper must not change the request itself.
func withToken(r *http.Request, token *heldToken) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token.text)
	return r
}

// repeatable returns a copy of the request with a body that was not read yet. It returns false if the body
// cannot be read again.
func repeatable(r *http.Request) (*http.Request, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	again := r.Clone(r.Context())
	again.Body = body
	return again, true
}

// closeBody closes the body of a request that is not sent. The contract of [http.RoundTripper] requires this.
func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}
