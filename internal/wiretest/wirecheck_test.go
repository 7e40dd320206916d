package wiretest

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// wire compares the responses in all tests with openapi.json.
var wire = newWireCheck(auth.OpenAPI())

// wireCheck compares requests and responses with an OpenAPI document.
type wireCheck struct {
	document map[string]any
	calls    []operation // sorted by path and method
	compiler *jsonschema.Compiler

	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema // keyed by JSON pointer
	met      map[string]bool               // "POST /auth/logout 200"
	problems []string
}

func newWireCheck(document []byte) *wireCheck {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		panic(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", parsed); err != nil {
		panic(err)
	}
	c := &wireCheck{document: parsed.(map[string]any), compiler: compiler,
		schemas: map[string]*jsonschema.Schema{}, met: map[string]bool{}}
	for path, item := range c.document["paths"].(map[string]any) {
		for key, object := range item.(map[string]any) {
			if key != "parameters" {
				c.calls = append(c.calls, operation{
					strings.ToUpper(key), path, pointerTo("paths", path, key),
					object.(map[string]any),
				})
			}
		}
	}
	slices.SortFunc(c.calls, func(a, b operation) int {
		return strings.Compare(a.path+" "+a.method, b.path+" "+b.method)
	})
	return c
}

// operation is a call in the document.
type operation struct {
	method, path string
	pointer      string // JSON pointer to the operation
	object       map[string]any
}

func (o operation) String() string { return o.method + " " + o.path }

func pointerTo(names ...string) (pointer string) {
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	return pointer
}

// resolve follows references from the pointer. It returns the final pointer and the value there.
func (c *wireCheck) resolve(pointer string) (string, any) {
	var at any = c.document
	for _, name := range strings.Split(pointer, "/")[1:] {
		switch node := at.(type) {
		case map[string]any:
			at = node[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(node) {
				return pointer, nil
			}
			at = node[i]
		default:
			return pointer, nil
		}
	}
	if object, ok := at.(map[string]any); ok && object["$ref"] != nil {
		return c.resolve(strings.TrimPrefix(object["$ref"].(string), "#"))
	}
	return pointer, at
}

func (c *wireCheck) object(pointer string) (string, map[string]any) {
	pointer, at := c.resolve(pointer)
	object, _ := at.(map[string]any)
	return pointer, object
}

// statuses returns the documented statuses of the call, sorted.
func (o operation) statuses() (list []string) {
	for status := range o.object["responses"].(map[string]any) {
		list = append(list, status)
	}
	slices.Sort(list)
	return list
}

// find returns the documented calls of the path. If one of them has the method, find returns only
// this call, and exact is true. As in the handler, a path without parameters takes precedence.
func (c *wireCheck) find(method, path string) (found []operation, exact bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	path = withoutSlash(path)
	for _, o := range c.calls {
		if o.path == path {
			found = append(found, o)
		}
	}
	if found == nil {
		for _, o := range c.calls {
			if isOfPath(path, o.path) {
				found = append(found, o)
			}
		}
	}
	for _, o := range found {
		if o.method == method {
			return []operation{o}, true
		}
	}
	return found, false
}

// withoutSlash returns the documented path of a path. The document has each call once, and says in
// words that GET /auth/user is also served with a slash at the end.
func withoutSlash(path string) string {
	if path == "/auth/user/" {
		return "/auth/user"
	}
	return path
}

func isOfPath(path, template string) bool {
	names, parts := strings.Split(template, "/"), strings.Split(path, "/")
	if len(names) != len(parts) {
		return false
	}
	for i, name := range names {
		if parts[i] != name && (!strings.HasPrefix(name, "{") || parts[i] == "") {
			return false
		}
	}
	return true
}

// answers checks the response to a request and records the problems. sent is the body of the
// request, and where names the test.
func (c *wireCheck) answers(where string, r *http.Request, sent []byte, got response) {
	for _, problem := range c.check(r, sent, got) {
		c.mu.Lock()
		c.problems = append(c.problems,
			fmt.Sprintf("%s: %s %s answers %d: %s", where, r.Method, r.URL.Path, got.status, problem))
		c.mu.Unlock()
	}
}

// check returns the differences between the response and the document. A path that is not
// documented has no differences, because it belongs to the host.
func (c *wireCheck) check(r *http.Request, sent []byte, got response) (problems []string) {
	found, exact := c.find(r.Method, r.URL.EscapedPath())
	if len(found) > 0 && !exact && got.status != http.StatusMethodNotAllowed {
		return []string{"the method is not documented"}
	}
	if len(found) > 0 && !deniesFrames(got.header) {
		problems = append(problems, "another page can show the answer in a frame")
	}
	for _, o := range found {
		pointer, documented := c.object(o.pointer + pointerTo("responses", strconv.Itoa(got.status)))
		if documented == nil {
			problems = append(problems, "the status is not documented")
			continue
		}
		c.mu.Lock()
		c.met[o.String()+" "+strconv.Itoa(got.status)] = true
		c.mu.Unlock()
		problems = append(problems, c.checkHeaders(pointer, documented, withoutRenewal(o, r, got.header))...)
		if r.Method != http.MethodHead {
			problems = append(problems, c.checkBody(pointer, documented, got)...)
		}
		if got.status/100 == 2 {
			problems = append(problems, c.checkSent(o, sent)...)
		}
	}
	return problems
}

// deniesFrames reports whether browsers refuse to show the answer in a frame of any page.
func deniesFrames(header http.Header) bool {
	return slices.ContainsFunc(header.Values("Content-Security-Policy"), func(policy string) bool {
		return strings.Contains(policy, "frame-ancestors 'none'")
	})
}

// withoutRenewal returns the header without the renewed session cookie. The document describes the renewal
// once, in the security scheme sessionCookie, and not in each call.
func withoutRenewal(o operation, r *http.Request, header http.Header) http.Header {
	lines := header.Values("Set-Cookie")
	if !protected(o) || r.Header.Get("Cookie") == "" || len(lines) != 1 ||
		!strings.Contains(lines[0], "auth_session=") {
		return header
	}
	header = header.Clone()
	header.Del("Set-Cookie")
	return header
}

func (c *wireCheck) checkHeaders(
	pointer string, documented map[string]any, header http.Header,
) (problems []string) {
	headers, _ := documented["headers"].(map[string]any)
	for name := range headers {
		pointer, object := c.object(pointer + pointerTo("headers", name))
		lines := header.Values(name)
		if len(lines) == 0 && object["required"] == true {
			problems = append(problems, "there is no "+name)
		}
		for _, line := range lines {
			if err := c.validate(pointer+"/schema", line); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	for _, name := range []string{
		"WWW-Authenticate", "Allow", "Retry-After", "Link", "Set-Cookie", "Location", "ETag",
	} {
		if header.Get(name) != "" && headers[name] == nil {
			problems = append(problems, name+" is not documented")
		}
	}
	return problems
}

func (c *wireCheck) checkBody(pointer string, documented map[string]any, got response) []string {
	content, _ := documented["content"].(map[string]any)
	if content == nil {
		if got.body != "" {
			return []string{"there is a body, and none is documented"}
		}
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil || content[mediaType] == nil {
		return []string{fmt.Sprintf("Content-Type %q is not documented", got.header.Get("Content-Type"))}
	}
	var value any = got.body
	if mediaType == "application/json" {
		if value, err = jsonschema.UnmarshalJSON(strings.NewReader(got.body)); err != nil {
			return []string{"the body is not JSON: " + err.Error()}
		}
		if strings.Index(got.body, "\n") != len(got.body)-1 { // a shell's prompt would follow the body
			return []string{"the body does not end with its only newline"}
		}
	}
	if err := c.validate(pointer+pointerTo("content", mediaType, "schema"), value); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// checkSent returns a problem if the service has accepted a body that the document does not allow.
func (c *wireCheck) checkSent(o operation, sent []byte) []string {
	pointer, documented := c.object(o.pointer + "/requestBody")
	switch {
	case documented == nil: // the call does not read a body
		return nil
	case len(sent) == 0 && documented["required"] == true:
		return []string{"no body was accepted, and one is documented to be required"}
	case len(sent) == 0:
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(sent))
	if err == nil {
		err = c.validate(pointer+pointerTo("content", "application/json", "schema"), value)
	}
	if err != nil {
		return []string{"a body was accepted that is not documented: " + err.Error()}
	}
	return nil
}

// validate validates the value against the schema at the pointer. It compiles each schema at the
// first use.
func (c *wireCheck) validate(pointer string, value any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile("openapi.json#" + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	return schema.Validate(value)
}

// neverMet returns the documented pairs of a call and a status that no test has received.
// documented is the number of all documented pairs.
func (c *wireCheck) neverMet() (pairs []string, documented int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.calls {
		for _, status := range o.statuses() {
			documented++
			if pair := o.String() + " " + status; !c.met[pair] {
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs, documented
}

// hostHandler is a handler whose responses are not checked, because some of them come from the
// host's mux or from Config.WriteError.
type hostHandler struct{ http.Handler }

// documented returns a handler that checks the responses of handler, as serve does. It is for tests
// that use a real server.
func documented(t testing.TB, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent bytes.Buffer
		asked := r.Clone(r.Context())
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &sent), r.Body}
		recorded := &recordedAnswer{ResponseWriter: w, status: http.StatusOK}
		handler.ServeHTTP(recorded, r)
		header := w.Header().Clone()
		if header.Get("Content-Type") == "" && recorded.body.Len() > 0 {
			header.Set("Content-Type", http.DetectContentType(recorded.body.Bytes()))
		}
		wire.answers(t.Name(), asked, sent.Bytes(), response{recorded.status, header, recorded.body.String()})
	})
}

type recordedAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *recordedAnswer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *recordedAnswer) Write(b []byte) (int, error) {
	a.body.Write(b)
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController set the read deadline of the body.
func (a *recordedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// askedAt returns the file and line of the test that has called a helper.
func askedAt() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		switch name := filepath.Base(frame.File); {
		case !more:
			return "a test"
		case name != "fixtures_test.go" && name != "wirecheck_test.go":
			return fmt.Sprintf("%s:%d", name, frame.Line)
		}
	}
}
