package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// client sends one request with a client program. It returns the status, the headers that
// docs/http.md documents, and the body. The names of the headers are in lower case.
type client func(t *testing.T, method, url, token, body string) (int, map[string]string, string)

// clients maps the name of each client program to its client.
func clients() map[string]client {
	return map[string]client{"curl": curl, "fetch": fetch, "net/http": netHTTP}
}

func curl(t *testing.T, method, url, token, body string) (int, map[string]string, string) {
	args := []string{"-sS", "-i", "-X", method, url}
	if token != "" {
		args = append(args, "-H", "Authorization: Bearer "+token)
	}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	out := tool(t, "curl", args...)
	head, text, ok := strings.Cut(out, "\r\n\r\n")
	require.True(t, ok, out)
	lines := strings.Split(head, "\r\n")
	var status int
	_, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &status)
	require.NoError(t, err, lines[0])
	header := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		header[strings.ToLower(name)] = value
	}
	return status, header, text
}

const fetchScript = `
const [method, url, token, body] = process.argv.slice(1);
const headers = {};
if (token) headers["Authorization"] = "Bearer " + token;
if (body) headers["Content-Type"] = "application/json";
const r = await fetch(url, {method, headers, body: body || undefined});
console.log(JSON.stringify({status: r.status, headers: Object.fromEntries(r.headers), body: await r.text()}));
`

func fetch(t *testing.T, method, url, token, body string) (int, map[string]string, string) {
	out := tool(t, "node", "--input-type=module", "-e", fetchScript, "--", method, url, token, body)
	var answer struct {
		Status  int
		Headers map[string]string
		Body    string
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer), out)
	return answer.Status, answer.Headers, answer.Body
}

func netHTTP(t *testing.T, method, url, token, body string) (int, map[string]string, string) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	require.NoError(t, err)
	header := map[string]string{}
	for name, values := range response.Header {
		header[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return response.StatusCode, header, text.String()
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testenv.Skip(t, name+" is not installed")
	}
	var stderr bytes.Buffer
	command := exec.Command(path, args...)
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}

func TestThePublishedAnswersFieldByField(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	for name, send := range clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			field := func(body, field string) string {
				var object map[string]any
				require.NoError(t, json.Unmarshal([]byte(body), &object), body)
				value, _ := object[field].(string)
				return value
			}
			login := func(key, secret string) (int, map[string]string, string) {
				body, err := json.Marshal(credentials(key, secret))
				require.NoError(t, err)
				return send(t, http.MethodPost, p.url+"/auth/users/login", "", string(body))
			}

			status, header, body := login(p.key, p.secret)
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, "application/json", header["content-type"])
			require.Equal(t, "no-store", header["cache-control"])
			token := field(body, "token")
			require.JSONEq(t,
				fmt.Sprintf(`{"token": %q, "token_type": "bearer", "expires_in": 43200, "is_super_user": true}`, token), body)

			username := strings.ReplaceAll(name, "/", "-")
			status, header, body = send(t, http.MethodPost, p.url+"/api/v1/user/register", token,
				fmt.Sprintf(`{"username": %q, "email": "%s@example.com", "is_super_user": false}`,
					username, username))
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, "no-store", header["cache-control"])
			key, secret := field(body, "access_key"), field(body, "access_secret")
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, field(body, "created_on"))
			require.JSONEq(t, fmt.Sprintf(`{"user_id": %q, "username": %q, "email": "%s@example.com", "role": "User",
				"status": "Active", "access_key": %q, "access_secret": %q, "created_on": %q,
				"message": "User registered. Store the access secret now: it is not shown again."}`,
				field(body, "user_id"), username, username, key, secret, field(body,
					"created_on")), body)

			status, _, body = login(key, secret)
			require.Equal(t, http.StatusOK, status)
			userToken := field(body, "token")
			require.JSONEq(t,
				fmt.Sprintf(`{"token": %q, "token_type": "bearer", "expires_in": 43200, "is_super_user": false}`, userToken), body)

			status, header, body = login(key, secret+"x")
			require.Equal(t, http.StatusUnauthorized, status)
			require.Equal(t, "Bearer", header["www-authenticate"])
			require.JSONEq(t, `{"detail": "Invalid access key or secret"}`, body)

			status, _, body = send(t, http.MethodPost, p.url+"/api/v1/user/register", userToken,
				`{"username":"x","email":"x@example.com"}`)
			require.Equal(t, http.StatusForbidden, status)
			require.JSONEq(t, `{"detail": "Super user access required"}`, body)

			status, _, _ = send(t, http.MethodPost, p.url+"/api/v1/user/register", token,
				fmt.Sprintf(`{"username": %q, "email": "other@example.com"}`,
					strings.ToUpper(username)))
			require.Equal(t, http.StatusConflict, status)

			status, header, _ = send(t, http.MethodGet, p.url+"/notes",
				userToken+"x", "")
			require.Equal(t, http.StatusUnauthorized, status)
			require.Equal(t, `Bearer error="invalid_token", scope="notes:read"`, header["www-authenticate"])
		})
	}
}
