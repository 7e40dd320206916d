package authclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/text"
)

// Error is an answer of the service other than a success.
type Error struct {
	StatusCode int

	// Detail is the service's sentence for the person who reads it, at most 1024 bytes without control
	// characters. It is empty if the answer does not come from the service, but for example from a proxy.
	Detail string

	// Scope is the scope that the token lacks, if StatusCode is 403 and the service names one.
	Scope string

	// RetryAfter is the time to wait before another attempt, at most 68 years. Zero means that the service
	// names none.
	RetryAfter time.Duration
}

// Error returns the status and the Detail.
func (e *Error) Error() string {
	message := strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode)
	if e.Detail != "" {
		message += ": " + e.Detail
	}
	if e.Scope != "" {
		message += ": the token lacks the scope " + e.Scope
	}
	return message
}

// Is reports whether the answer has the meaning of an error of package auth: [auth.ErrNotFound] for 404, and
// [auth.ErrInsufficientScope] for 403 with a challenge that names a scope. A 401 is no
// [auth.ErrTokenRejected]: a service that answers its own requests with [auth.WriteError] would answer them
// with 401, too, although the caller of that service is signed in.
func (e *Error) Is(target error) bool {
	switch target {
	case auth.ErrNotFound:
		return e.StatusCode == http.StatusNotFound
	case auth.ErrInsufficientScope:
		return e.StatusCode == http.StatusForbidden && e.Scope != ""
	}
	return false
}

// maxAnswer is the maximum size of an answer that the typed calls read, in bytes.
const maxAnswer = 4 << 20

// maxScope is the maximum length of [Error.Scope], in bytes. No scope is longer.
const maxScope = 64

// maxDetail is the maximum length of [Error.Detail], in bytes.
const maxDetail = 1 << 10

// call makes a documented call with the token, and decodes the answer into the result, which may be nil. It
// returns the header of the answer.
func (c *Client) call(ctx context.Context, method, path string, body, result any) (http.Header, error) {
	request, err := c.newRequest(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	header, err := c.send(c.RoundTripper(), request, result)
	if err != nil {
		return nil, fmt.Errorf("authclient: %s %s: %w", method, strings.SplitN(path, "?", 2)[0], err)
	}
	return header, nil
}

// callByID makes a documented call about the record with this ID, which is in the path between before and
// after. No record has an empty ID, or an ID that path normalization removes. With such an ID, the call would
// go to another path.
func (c *Client) callByID(ctx context.Context, method, before, id, after string, body, result any) error {
	if id == "" || id == "." || id == ".." {
		return fmt.Errorf("authclient: %s %s{id}%s: the ID is %q: %w", method, before, after, id,
			auth.ErrNotFound)
	}
	_, err := c.call(ctx, method, before+url.PathEscape(id)+after, body, result)
	return err
}

// newRequest returns a request for a path below the base URL. The body may be nil.
func (c *Client) newRequest(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("authclient: encoding a request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, content)
	if err != nil {
		return nil, fmt.Errorf("authclient: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	return request, nil
}

// send sends a request with the transport, which follows no redirect, and decodes the answer.
func (c *Client) send(transport http.RoundTripper, r *http.Request, result any) (http.Header, error) {
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case response.StatusCode < 200 || response.StatusCode > 299:
		return nil, c.newError(response, content)
	case len(content) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	case result == nil:
		return response.Header, nil
	}
	if err := json.Unmarshal(content, result); err != nil {
		return nil, fmt.Errorf("decoding the answer: not the expected JSON (%d bytes)", len(content))
	}
	return response.Header, nil
}

// newError returns the error of an answer.
func (c *Client) newError(response *http.Response, content []byte) *Error {
	e := &Error{StatusCode: response.StatusCode,
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), c.now())}
	var body struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(content, &body) == nil {
		e.Detail = text.Readable(body.Detail, maxDetail)
	}
	challenge := response.Header.Get("WWW-Authenticate")
	if _, rest, ok := strings.Cut(challenge, `error="insufficient_scope"`); ok {
		if _, rest, ok = strings.Cut(rest, `scope="`); ok {
			scope, _, _ := strings.Cut(rest, `"`)
			e.Scope = text.Readable(scope, maxScope)
		}
	}
	return e
}

// maxRetryAfter is the greatest Error.RetryAfter. Callers can add it to other durations without an overflow.
const maxRetryAfter = (1<<31 - 1) * time.Second

// retryAfter returns the duration that a Retry-After header means, in seconds or as a date (RFC 9110, section
// 10.2.3). It returns 0 if there is none, or if it is in the past.
func retryAfter(header string, now time.Time) time.Duration {
	seconds, err := strconv.ParseUint(header, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // a number out of range becomes the greatest number
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
