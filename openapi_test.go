package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// openAPI is the document, with which every answer of the tests is compared.
var openAPI = sync.OnceValue(func() *document {
	d := &document{met: map[string]bool{}, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	if err := json.Unmarshal(auth.OpenAPI(), &d.root); err != nil {
		panic(err)
	}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(auth.OpenAPI()))
	if err != nil {
		panic(err)
	}
	if err := d.compiler.AddResource(resourceName, resource); err != nil {
		panic(err)
	}
	for path := range d.object("paths") {
		d.paths = append(d.paths, path)
	}
	slices.SortFunc(d.paths, func(a, b string) int { return strings.Count(a, "{") - strings.Count(b, "{") }) // the fixed first
	for _, path := range d.paths {
		pattern := regexp.MustCompile(`\\\{[a-z_]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
		d.patterns = append(d.patterns, regexp.MustCompile("^"+pattern+"$"))
	}
	return d
})

const resourceName = "https://example.com/openapi.json"

type document struct {
	root     map[string]any
	paths    []string
	patterns []*regexp.Regexp // of the paths

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by pointer
	met      map[string]bool               // the answers that tests have seen, as operation and status
}

// object returns what is there, its references followed; nil for nothing.
func (d *document) object(pointer ...string) map[string]any {
	at := d.root
	for _, name := range pointer {
		at, _ = at[name].(map[string]any)
		at = d.follow(at)
	}
	return at
}

func (d *document) follow(o map[string]any) map[string]any {
	if ref, ok := o["$ref"].(string); ok {
		return d.object(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return o
}

// where returns the pointer of the answer, its reference followed.
func (d *document) where(path, method, status string) []string {
	pointer := []string{"paths", path, method, "responses", status}
	answers, _ := d.object(pointer[:4]...)[status].(map[string]any)
	if ref, ok := answers["$ref"].(string); ok {
		return strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	}
	return pointer
}

// pathOf returns the documented path that a request's is one of.
func (d *document) pathOf(path string) string {
	for i, pattern := range d.patterns {
		if pattern.MatchString(path) {
			return d.paths[i]
		}
	}
	return ""
}

// check returns what is wrong with an answer, by the document.
func (d *document) check(method, path string, answer response) error {
	documented := d.pathOf(path)
	if documented == "" {
		return nil
	}
	operation := strings.ToLower(method)
	if method == http.MethodHead {
		operation = "get"
	}
	at := []string{"components", "responses", "MethodNotAllowed"} // for what is no operation
	if d.object("paths", documented, operation) != nil {
		status := strconv.Itoa(answer.status)
		d.mu.Lock()
		d.met[operation+" "+documented+" "+status] = true
		d.mu.Unlock()
		at = d.where(documented, operation, status)
	} else if answer.status != http.StatusMethodNotAllowed {
		return fmt.Errorf("%s %s is not documented, and answers %d", method, documented, answer.status)
	}
	described := d.object(at...)
	if described == nil {
		return fmt.Errorf("%s %s: the status %d is not documented", method, documented, answer.status)
	}
	if err := d.checkHeaders(at, answer.header); err != nil {
		return fmt.Errorf("%s %s %d: %w", method, documented, answer.status, err)
	}
	if method == http.MethodHead {
		return nil
	}
	if err := d.checkBody(at, answer); err != nil {
		return fmt.Errorf("%s %s %d: %w", method, documented, answer.status, err)
	}
	return nil
}

func (d *document) checkHeaders(at []string, header http.Header) error {
	for name := range d.object(append(at, "headers")...) {
		described := d.object(append(at, "headers", name)...)
		if len(header[http.CanonicalHeaderKey(name)]) == 0 {
			if described["required"] == true {
				return fmt.Errorf("no header %s", name)
			}
			continue
		}
		pointer := append(append(slices.Clone(at), "headers", name), "schema")
		if ref, ok := d.object(append(at, "headers")...)[name].(map[string]any)["$ref"].(string); ok {
			pointer = append(strings.Split(strings.TrimPrefix(ref, "#/"), "/"), "schema")
		}
		if err := d.validate(pointer, header.Get(name)); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	return nil
}

func (d *document) checkBody(at []string, answer response) error {
	content := d.object(append(at, "content")...)
	if content == nil {
		if answer.body != "" && answer.status != http.StatusPartialContent && answer.status != http.StatusRequestedRangeNotSatisfiable {
			return fmt.Errorf("a body that is not documented: %.100s", answer.body)
		}
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(answer.header.Get("Content-Type"))
	if err != nil || content[mediaType] == nil {
		return fmt.Errorf("Content-Type %q is not documented", answer.header.Get("Content-Type"))
	}
	if mediaType != "application/json" {
		return nil
	}
	body, err := jsonschema.UnmarshalJSON(strings.NewReader(answer.body))
	if err != nil {
		return err
	}
	return d.validate(append(slices.Clone(at), "content", mediaType, "schema"), body)
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")

func (d *document) validate(pointer []string, value any) error {
	url := resourceName + "#"
	for _, name := range pointer {
		url += "/" + escapePointer.Replace(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	schema := d.schemas[url]
	if schema == nil {
		var err error
		if schema, err = d.compiler.Compile(url); err != nil {
			return err
		}
		d.schemas[url] = schema
	}
	return schema.Validate(value)
}

// neverMet returns the documented answers that no test has seen.
func (d *document) neverMet() (missing []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, path := range d.paths {
		for method := range d.object("paths", path) {
			for status := range d.object("paths", path, method, "responses") {
				if key := method + " " + path + " " + status; !d.met[key] {
					missing = append(missing, key)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func TestTheDocumentHasEachCallOfRoutesAndNoOther(t *testing.T) {
	t.Parallel()
	d := openAPI()
	documented, served := map[string]string{}, map[string]string{}
	for _, path := range d.paths {
		for method, operation := range d.object("paths", path) {
			documented[strings.ToUpper(method)+" "+path] = operation.(map[string]any)["tags"].([]any)[0].(string)
		}
	}
	for _, route := range newFixture(t).svc.Routes() {
		served[route.Method+" "+route.Path] = string(route.Group)
	}
	require.Equal(t, served, documented)
}

func TestTheDocumentIsWhole(t *testing.T) {
	t.Parallel()
	d := openAPI()
	require.Equal(t, "3.1.0", d.root["openapi"])
	ids := map[string]bool{}
	for _, path := range d.paths {
		for method := range d.object("paths", path) {
			operation := d.object("paths", path, method)
			name := method + " " + path
			id := operation["operationId"].(string)
			require.False(t, ids[id], "%s: the operationId of another", name)
			ids[id] = true
			require.NotEmpty(t, operation["summary"], name)

			var declared []string
			for _, parameter := range asArray(operation["parameters"]) {
				if parameter := parameter.(map[string]any); parameter["in"] == "path" {
					declared = append(declared, "{"+parameter["name"].(string)+"}")
				}
			}
			require.Equal(t, regexp.MustCompile(`\{[a-z_]+\}`).FindAllString(path, -1), declared, name)

			statuses := slices.Collect(maps.Keys(operation["responses"].(map[string]any)))
			if len(asArray(operation["security"])) > 0 {
				require.Subset(t, statuses, []string{"401", "503"}, name)
			}
			if operation["tags"].([]any)[0] == "administration" {
				require.Contains(t, statuses, "403", name)
			}
			if operation["requestBody"] != nil {
				require.Subset(t, statuses, []string{"400", "413", "415", "422"}, name)
			}
			for _, status := range statuses {
				require.NotEmpty(t, d.object(d.where(path, method, status)...)["description"], "%s %s", name, status)
			}
		}
	}
	for _, reference := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(string(auth.OpenAPI()), -1) {
		require.NotNil(t, d.object(strings.Split(reference[1], "/")...), reference[1])
	}
}

// Each call is sent what it must refuse, as a super user: the answers are compared with
// the document as they come.
func TestEachCallRefusesAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	d := openAPI()
	for _, path := range d.paths {
		for method, operation := range d.object("paths", path) {
			operation := operation.(map[string]any)
			f := newFixture(t)
			token := f.signIn(f.admin)
			target := strings.NewReplacer("{id}", f.user.ID, "{access_key}", f.userPair.AccessKey).Replace(path)
			if strings.Contains(path, "/sessions/") {
				session, err := f.svc.SignIn(t.Context(), f.user.ID)
				require.NoError(t, err)
				target = "/auth/sessions/" + session.Session.ID
			}
			method := strings.ToUpper(method)
			as := func(body string, header ...string) int {
				return f.send(method, target, body, append(header, "Authorization", "Bearer "+token)...).status
			}
			name := method + " " + path
			require.Equal(t, http.StatusMethodNotAllowed, f.send("BREW", target, "").status, name)
			onGitHub := strings.Contains(path, "/github/") // which is not configured here
			if len(asArray(operation["security"])) > 0 {
				unknown := f
				if onGitHub {
					unknown = newGitHub(t).fixture
				}
				require.Equal(t, http.StatusUnauthorized, unknown.send(method, target, "").status, name)
			}
			if operation["requestBody"] != nil {
				require.Equal(t, http.StatusBadRequest, as("[]"), name)
				require.Equal(t, http.StatusRequestEntityTooLarge, as(`{"x":"`+strings.Repeat("x", 9000)+`"}`), name)
				require.Equal(t, http.StatusUnprocessableEntity, as(`{"not_known":1}`), name)
				r := httptest.NewRequest(method, target, strings.NewReader("{}"))
				r.Header.Set("Content-Type", "text/plain")
				r.Header.Set("Authorization", "Bearer "+token)
				notJSON := serve(f.svc.Handler(), r)
				require.Equal(t, http.StatusUnsupportedMediaType, notJSON.status, name)
				require.NoError(t, d.check(method, target, notJSON))
			}
			if operation["responses"].(map[string]any)["503"] == nil || onGitHub {
				continue
			}
			body := map[string]string{
				"PATCH /auth/users/{id}": `{"is_active":true}`, "POST /auth/users/login": loginBody(f.userPair),
				"POST /auth/users/register": `{"username":"new","email":"new@example.com"}`, "POST /api/v1/user/register": `{"username":"new","email":"new@example.com"}`,
			}[name]
			away, err := auth.New(&faultyStore{Store: f.store, before: func(called string) error {
				if called == "ListRevocations" {
					return nil
				}
				return errStoreAway
			}}, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.key}, Now: f.clock.Now, Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			f.svc = away
			require.Equal(t, http.StatusServiceUnavailable, as(body), name)
		}
	}
}

func asArray(v any) []any {
	array, _ := v.([]any)
	return array
}

// What is sent in the tests of the calls is what the document says may be sent.
func TestTheDocumentsBodiesAreTheOnesThatAreTaken(t *testing.T) {
	t.Parallel()
	d := openAPI()
	for body, good := range map[string]map[string]bool{
		"Credentials":  {`{"access_key":"a","access_secret":"b","more":1}`: true, `{"access_key":"a"}`: false, `{"access_key":"","access_secret":"b"}`: false},
		"Registration": {`{"username":"a","email":"a@example.com"}`: true, `{"username":"a","email":"a@example.com","is_super_user":"no"}`: false},
		"NewKey":       {`{}`: true, `{"expires":"2030-01-01T00:00:00Z"}`: false, `{"expires_at":"tomorrow"}`: false},
		"Rotation":     {`{"overlap_seconds":604800}`: true, `{"overlap_seconds":604801}`: false},
		"UserChange":   {`{"is_active":true}`: true, `{}`: false, `{"is_admin":true}`: false},
		"Nothing":      {`{}`: true, `{"keep":true}`: false},
	} {
		for text, want := range good {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			require.NoError(t, err)
			require.Equal(t, want, d.validate([]string{"components", "schemas", body}, value) == nil, "%s %s", body, text)
		}
	}
}

func TestAnAnswerThatIsNotAsDocumentedIsFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := openAPI()
	good := f.login(f.userPair)
	require.NoError(t, d.check("POST", "/auth/users/login", good))
	change := func(edit func(*response)) response {
		bad := response{good.status, good.header.Clone(), good.body}
		edit(&bad)
		return bad
	}
	for name, bad := range map[string]response{
		"a field too few":  change(func(r *response) { r.body = strings.Replace(r.body, `"token_type":"bearer",`, "", 1) }),
		"a field too many": change(func(r *response) { r.body = strings.Replace(r.body, "{", `{"user_id":"x",`, 1) }),
		"another type":     change(func(r *response) { r.body = strings.Replace(r.body, "43200", `"43200"`, 1) }),
		"another value":    change(func(r *response) { r.body = strings.Replace(r.body, "bearer", "Bearer", 1) }),
		"no JSON":          change(func(r *response) { r.body = "ok" }),
		"another status":   change(func(r *response) { r.status = 201 }),
		"a header missing": change(func(r *response) { r.header.Del("Cache-Control") }),
		"another header":   change(func(r *response) { r.header.Set("Cache-Control", "private") }),
		"as text":          change(func(r *response) { r.header.Set("Content-Type", "text/plain") }),
	} {
		require.Error(t, d.check("POST", "/auth/users/login", bad), name)
	}
	require.Error(t, d.check("BREW", "/auth/users/login", good), "a method that is not documented")
	require.NoError(t, d.check("GET", "/reports", response{status: 418}), "a host's own")
}
