package wiretest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func TestOpenAPIDocumentsExactlyTheRoutes(t *testing.T) {
	t.Parallel()
	routes, documented := map[string]string{}, map[string]string{}
	svc := newBrowserFixture(t).svc
	for _, route := range svc.Routes(allGroups...) {
		routes[route.Method+" "+withoutSlash(route.Path)] = string(route.Group)
	}
	for _, o := range wire.calls {
		documented[o.String()] = ""
		for _, tag := range o.object["tags"].([]any) {
			documented[o.String()] += tag.(string)
		}
	}
	require.Equal(t, routes, documented, "the tags are the route groups")
}

// The document follows a common set of rules for OpenAPI documents ("recommended" of Redocly). The other
// rules of the set are in TestOpenAPIIsWellFormed.
func TestOpenAPIFollowsTheRulesOfCommonLinters(t *testing.T) {
	t.Parallel()
	info := wire.document["info"].(map[string]any)
	require.Equal(t, "MIT", info["license"].(map[string]any)["identifier"])
	require.NotEmpty(t, info["description"])
	tags := map[string]bool{}
	for _, tag := range wire.document["tags"].([]any) {
		tag := tag.(map[string]any)
		require.NotEmpty(t, tag["description"], tag)
		tags[tag["name"].(string)] = true
	}
	shapes := map[string]string{} // paths that differ only in the names of their parameters
	for _, o := range wire.calls {
		require.False(t, strings.HasSuffix(o.path, "/") || strings.Contains(o.path, "?"), o)
		require.Contains(t, o.object, "security", o)
		require.True(t, slices.ContainsFunc(o.statuses(), func(status string) bool {
			return strings.HasPrefix(status, "4")
		}), "%s: no answer for a mistake of the client", o)
		for _, tag := range o.object["tags"].([]any) {
			require.True(t, tags[tag.(string)], "%s: tag %s is not described", o, tag)
		}
		shape := regexp.MustCompile(`{[^}]+}`).ReplaceAllString(o.path, "{}")
		require.Contains(t, []string{"", o.path}, shapes[shape], "ambiguous paths")
		shapes[shape] = o.path
	}
	checked := 0
	for _, o := range wire.calls {
		contents := []string{o.pointer + "/requestBody"}
		for _, status := range o.statuses() {
			contents = append(contents, o.pointer+pointerTo("responses", status))
		}
		for _, pointer := range contents {
			pointer, object := wire.object(pointer)
			content, _ := object["content"].(map[string]any)
			for mediaType, c := range content {
				if example := c.(map[string]any)["example"]; example != nil {
					checked++
					schema := pointer + pointerTo("content", mediaType, "schema")
					require.NoError(t, wire.validate(schema, example), o)
				}
			}
		}
	}
	require.Greater(t, checked, 20)
}

func TestOpenAPIReturnsACopy(t *testing.T) {
	t.Parallel()
	first := auth.OpenAPI()
	first[0] = 'x'
	require.True(t, json.Valid(auth.OpenAPI()))
}

func TestOpenAPIIsWellFormed(t *testing.T) {
	t.Parallel()
	document := auth.OpenAPI()
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, document, "", "  "))
	require.Equal(t, indented.String(), string(document))
	for _, match := range regexp.MustCompile(`"\$ref": "#([^"]*)"`).FindAllSubmatch(document, -1) {
		_, target := wire.resolve(string(match[1]))
		require.NotNil(t, target, "%s does not exist", match[1])
	}
	for kind, components := range wire.document["components"].(map[string]any) {
		for name := range components.(map[string]any) {
			if kind == "securitySchemes" {
				require.Contains(t, string(document), `"`+name+`": []`)
				continue
			}
			require.Contains(t, string(document), `"#/components/`+kind+"/"+name+`"`,
				"nothing refers to the component")
		}
	}
	ids := map[string]bool{}
	for _, o := range wire.calls {
		id := o.object["operationId"].(string)
		require.False(t, ids[id], "%s: duplicate operationId %s", o, id)
		ids[id] = true
		require.NotEmpty(t, o.object["summary"], o)
		requirePathParameters(t, o)
		requireStatuses(t, o)
	}
}

func requirePathParameters(t *testing.T, o operation) {
	t.Helper()
	want, have := map[string]bool{}, map[string]bool{}
	for _, match := range regexp.MustCompile(`{([^}]+)}`).FindAllStringSubmatch(o.path, -1) {
		want[match[1]] = true
	}
	for _, pointer := range []string{pointerTo("paths", o.path, "parameters"), o.pointer + "/parameters"} {
		_, list := wire.resolve(pointer)
		parameters, _ := list.([]any)
		for i := range parameters {
			if _, parameter := wire.object(pointer + "/" + string(rune('0'+i))); parameter["in"] == "path" {
				require.Equal(t, true, parameter["required"], o)
				have[parameter["name"].(string)] = true
			}
		}
	}
	require.Equal(t, want, have, o)
}

// requireStatuses fails the test unless the document has every status that follows from the
// authentication and the body of the call.
func requireStatuses(t *testing.T, o operation) {
	t.Helper()
	want := []string{"405"}
	if protected(o) {
		want = append(want, "401", "503")
	}
	if o.object["tags"].([]any)[0] == string(auth.GroupAdministration) {
		want = append(want, "403", "404")
	}
	if o.object["requestBody"] != nil {
		want = append(want, "400", "408", "413", "415", "422")
	}
	if strings.Contains(o.path, "{") {
		want = append(want, "404")
	}
	require.Subset(t, o.statuses(), want, o)
	for status, header := range map[string]string{
		"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "302": "Location",
		"303": "Location",
	} {
		pointer, documented := wire.object(o.pointer + pointerTo("responses", status))
		if documented != nil {
			_, object := wire.object(pointer + pointerTo("headers", header))
			require.Equal(t, true, object["required"], "%s %s: %s", o, status, header)
		}
	}
}

func protected(o operation) bool { return len(o.object["security"].([]any)) > 0 }

// This test checks the comparison with openapi.json itself, because a comparison that accepts
// everything would never fail.
func TestTheWireCheckFindsUndocumentedResponses(t *testing.T) {
	t.Parallel()
	good := `{"token": "x", "token_type": "bearer", "expires_in": 43200, "is_super_user": false}`
	for name, test := range map[string]struct {
		method, path string
		status       int
		body         string
		header       []string
		noNewline    bool
		want         string
	}{
		"as documented":            {status: 200, body: good},
		"no newline at the end":    {status: 200, body: good, noNewline: true, want: "newline"},
		"two newlines at the end":  {status: 200, body: good + "\n", want: "newline"},
		"a path of the host":       {path: "/reports", status: 418, body: "teapot"},
		"a missing field":          {status: 200, body: `{"token": "x", "token_type": "bearer", "expires_in": 43200}`, want: "is_super_user"},
		"an additional field":      {status: 200, body: strings.Replace(good, "{", `{"more": 1, `, 1), want: "more"},
		"a wrong type":             {status: 200, body: strings.Replace(good, "43200", `"43200"`, 1), want: "expires_in"},
		"a value outside the enum": {status: 200, body: strings.Replace(good, "bearer", "Bearer", 1), want: "token_type"},
		"not JSON":                 {status: 200, body: "ok", want: "not JSON"},
		"another media type":       {status: 200, body: good, header: []string{"Content-Type", "text/plain"}, want: "text/plain"},
		"an undocumented status":   {status: 418, body: good, want: "status"},
		"an undocumented method":   {method: http.MethodPut, status: 200, body: good, want: "method"},
		"an error that is a list":  {status: 422, body: `{"detail": ["x"]}`, want: "detail"},
		"a missing header":         {status: 429, body: `{"detail": "x"}`, want: "Retry-After"},
		"an invalid header":        {status: 429, body: `{"detail": "x"}`, header: []string{"Retry-After", "soon"}, want: "Retry-After"},
		"an undocumented header":   {status: 200, body: good, header: []string{"Set-Cookie", "a=b"}, want: "Set-Cookie"},
		"a cacheable response":     {status: 200, body: good, header: []string{"Cache-Control", "public"}, want: "Cache-Control"},
		"an answer in a frame":     {status: 200, body: good, header: []string{"Content-Security-Policy", "default-src 'none'"}, want: "frame"},
		"a body with 204":          {method: http.MethodDelete, path: "/auth/keys/ak", status: 204, body: good, want: "body"},
		"an invalid time": {method: http.MethodGet, path: "/auth/keys", status: 200, want: "date-time",
			body: `[{"access_key": "a", "label": "", "created_at": "2026-13-02T03:04:05Z", "expires_at": null, "last_used_at": null, "status": "Active"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			method, path := test.method, test.path
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = "/auth/users/login"
			}
			header := documentedHeader()
			for i := 0; i < len(test.header); i += 2 {
				header.Set(test.header[i], test.header[i+1])
			}
			check := newWireCheck(auth.OpenAPI())
			sent := `{"access_key": "a", "access_secret": "b"}`
			newline := "\n"
			if test.noNewline {
				newline = ""
			}
			problems := check.check(httptest.NewRequest(method, path, nil), []byte(sent), response{
				test.status, header, test.body + newline,
			})
			if test.want == "" {
				require.Empty(t, problems)
				return
			}
			require.Contains(t, strings.Join(problems, "\n"), test.want)
		})
	}
}

// documentedHeader returns the header that a response with JSON must have.
func documentedHeader() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
		"Content-Security-Policy": {"frame-ancestors 'none'"}}
}

func TestTheWireCheckFindsUndocumentedRequestBodies(t *testing.T) {
	t.Parallel()
	check := newWireCheck(auth.OpenAPI())
	answer := response{200, documentedHeader(),
		`{"token": "x", "token_type": "bearer", "expires_in": 1, "is_super_user": false}` + "\n"}
	for sent, want := range map[string]string{
		"": "no body", "{}": "access_key", `{"access_key": 1, "access_secret": "b"}`: "string",
	} {
		problems := check.check(httptest.NewRequest(http.MethodPost, "/auth/users/login", nil),
			[]byte(sent), answer)
		require.Contains(t, strings.Join(problems, "\n"), want)
	}
}
