package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxForm is the maximum length of a form, in bytes. It has room for two tokens.
const maxForm = 16 << 10

// form contains the parameters of a request that have a value. A parameter without a value counts as absent
// (RFC 6749, section 3.1).
type form map[string][]string

// get returns the value of a parameter, or "".
func (f form) get(name string) string {
	if values := f[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// maxContentType is the maximum length of the header Content-Type, in bytes. Parsing half a megabyte of
// parameters takes 25 ms.
const maxContentType = 256

// secrets are the parameters that must not be in the URL, because URLs end up in logs.
var secrets = []string{"client_secret", "client_assertion", "assertion", "subject_token", "actor_token",
	"token", "device_code"}

// readForm reads the parameters of a request. It ignores those in the URL, except for secrets, which must
// never be there.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil: // a parameter that ParseQuery does not read could be a secret
		return nil, invalid("The query of the URL is not valid")
	case slices.ContainsFunc(secrets, query.Has):
		return nil, invalid("Secrets and tokens must not be in the URL")
	case !isForm(r.Header["Content-Type"]):
		return nil, invalid("Content-Type must be application/x-www-form-urlencoded, in UTF-8")
	}
	text, err := readBody(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: invalidRequest,
			description: "The form must be at most 16 KiB long"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &failure{status: http.StatusRequestTimeout, code: invalidRequest,
			description: "The form took too long to arrive"}
	case err != nil:
		return nil, invalid("The form could not be read")
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, invalid("The form is not valid")
	}
	f := form{}
	for name, all := range values {
		if !isText(name) || !isText(strings.Join(all, "")) {
			return nil, invalid("The form must be UTF-8 text without NUL")
		}
		all = slices.DeleteFunc(all, func(value string) bool { return value == "" })
		if len(all) > 1 && name != "resource" && name != "audience" {
			return nil, invalid("A parameter must not be repeated")
		}
		if len(all) > 0 {
			f[name] = all
		}
	}
	return f, nil
}

// isForm reports whether the lines of the header Content-Type say that the body is a form in UTF-8 (RFC 6749,
// appendix B).
func isForm(lines []string) bool {
	if len(lines) != 1 || len(lines[0]) > maxContentType {
		return false
	}
	kind, params, err := mime.ParseMediaType(lines[0])
	charset, given := params["charset"]
	return err == nil && kind == "application/x-www-form-urlencoded" &&
		(!given || strings.EqualFold(charset, "utf-8"))
}

// isText reports whether s is UTF-8 text without NUL, which the documented calls require of JSON, too. A
// store or a log could read other text in another way.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// readBody reads the body in at most half of the time that the context of the request has left.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	controller := http.NewResponseController(w)
	if deadline, ok := r.Context().Deadline(); ok {
		controller.SetReadDeadline(deadline.Add(-time.Until(deadline) / 2))
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err == nil {
		controller.SetReadDeadline(time.Time{})
	}
	return text, err
}
