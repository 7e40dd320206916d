package interoptest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// installed is the directory with the scripts and with the JavaScript clients.
var installed string

// run runs the tests with a directory for the JavaScript clients.
func run(m *testing.M) int {
	var err error
	if installed, err = os.MkdirTemp("", "interoptest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(installed)
	return m.Run()
}

// install installs the JavaScript clients once. The lock file has their versions and checksums, and no
// script of a package runs.
var install = sync.OnceValue(func() error {
	if err := os.CopyFS(installed, os.DirFS("testdata")); err != nil {
		return err
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	npm.Dir = installed
	if output, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, output)
	}
	return nil
})

// fields are fields of the result of a call, or of its error.
type fields map[string]any

// runScript runs a script of testdata against the service, and returns the result of each call.
func (f *fixture) runScript(t *testing.T, script string) map[string]fields {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			testenv.Skip(t, program+" is not installed")
		}
	}
	require.NoError(t, install())
	certificate := filepath.Join(t.TempDir(), "server.pem")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}), 0o600))
	user := func(pair auth.KeyPair) map[string]string {
		return map[string]string{"id": pair.AccessKey, "secret": pair.AccessSecret.Reveal()}
	}
	input, err := json.Marshal(map[string]any{
		"issuer": f.server.URL, "resource": resource, "reports": f.server.URL + "/reports",
		"ada": user(f.ada.Pair), "agent": user(f.agent.Pair), "imported": user(importedPair),
	})
	require.NoError(t, err)
	node := exec.CommandContext(t.Context(), "node", script)
	node.Dir, node.Stderr = installed, os.Stderr
	node.Env = append(os.Environ(), "INTEROP="+string(input), "NODE_EXTRA_CA_CERTS="+certificate)
	output, err := node.Output()
	require.NoError(t, err)
	var texts map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(output, &texts), string(output))
	results := map[string]fields{}
	for call, text := range texts {
		var result fields
		if string(text) != `"done"` {
			require.NoError(t, json.Unmarshal(text, &result), call)
		}
		results[call] = result
	}
	return results
}

// requireResults fails the test unless the calls are the wanted ones, and each has the wanted fields. A field
// that is nil must be absent.
func requireResults(t *testing.T, want, got map[string]fields) {
	t.Helper()
	require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	for call, wanted := range want {
		if wanted["failure"] == nil {
			require.NotContains(t, got[call], "failure", "%s: %v", call, got[call])
		}
		for name, value := range wanted {
			require.Equal(t, value, got[call][name], "%s: %s: %v", call, name, got[call])
		}
	}
}

// list returns the texts as a list that was decoded from JSON.
func list(texts ...string) []any {
	var l []any
	for _, text := range texts {
		l = append(l, text)
	}
	return l
}

// challenge returns a challenge as oauth4webapi reads it. The parameters are names and values in turn.
func challenge(scheme string, parameters ...string) []any {
	read := map[string]any{}
	for i := 0; i < len(parameters); i += 2 {
		read[parameters[i]] = parameters[i+1]
	}
	return []any{map[string]any{"scheme": scheme, "parameters": read}}
}

// The failures as both clients name them.
const (
	answered   = "OAUTH_RESPONSE_BODY_ERROR"
	challenged = "OAUTH_WWW_AUTHENTICATE_CHALLENGE"
)

// commonCalls returns the wanted results of the calls that both scripts make.
func (f *fixture) commonCalls() map[string]fields {
	url, key := f.server.URL, f.ada.Pair.AccessKey
	subject := fields{"active": true, "sub": f.ada.User.ID, "username": "ada", "aud": resource, "iss": url,
		"client_id": key, "scope": "reports:read", "token_type": "Bearer"}
	delegated := maps.Clone(subject)
	delegated["act"] = map[string]any{"sub": f.agent.User.ID}
	signedIn := fields{"token_type": "bearer", "expires_in": 43200.0, "scope": nil}
	return map[string]fields{
		"server metadata": {"issuer": url, "token_endpoint": url + "/auth/token",
			"revocation_endpoint": url + "/auth/revoke", "introspection_endpoint": url + "/auth/introspect",
			"jwks_uri": url + "/.well-known/jwks.json"},
		"sign-in with Basic":      signedIn,
		"sign-in with post":       signedIn,
		"scope and resource":      {"scope": "reports:read"},
		"wrong secret with Basic": {"failure": challenged, "status": 401.0},
		"unknown scope":           {"failure": answered, "status": 400.0, "error": "invalid_scope"},
		"unknown resource":        {"failure": answered, "status": 400.0, "error": "invalid_target"},
		"token exchange": {"token_type": "bearer", "expires_in": 900.0, "scope": "reports:read",
			"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"},
		"introspection":                      subject,
		"introspection of a delegated token": delegated,
		"protected resource":                 {"status": 200.0, "text": "the reports of ada"},
		"revocation":                         nil,
		"revocation again":                   nil,
		"introspection after revocation":     {"active": false, "sub": nil},
		"device after the approval":          {"token_type": "bearer", "scope": "reports:read"},
	}
}

func TestOpenIDClientMakesTheOAuthCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	requireResults(t, f.commonCalls(), f.runScript(t, "openid-client.mjs"))
}

func TestOAuth4WebAPIMakesTheOAuthCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.server.URL
	metadata := url + "/.well-known/oauth-protected-resource"
	claims := fields{"sub": f.ada.User.ID, "aud": resource, "iss": url, "scope": "reports:read",
		"client_id": f.ada.Pair.AccessKey, "act": nil}
	delegated := maps.Clone(claims)
	delegated["act"] = map[string]any{"sub": f.agent.User.ID}
	want := f.commonCalls()
	maps.Copy(want, map[string]fields{
		"resource metadata":       {"resource": url, "authorization_servers": list(url)},
		"imported key with Basic": {"token_type": "bearer"},
		"wrong secret with Basic": {"failure": challenged, "status": 401.0,
			"challenges": challenge("basic", "realm", "access key", "charset", "UTF-8")},
		"wrong secret with post":                  {"failure": answered, "status": 401.0, "error": "invalid_client"},
		"token exchange for the issuer":           {"failure": answered, "status": 400.0, "error": "invalid_target"},
		"introspection of a token for the issuer": {"active": false, "sub": nil},
		"validation with the key set":             claims,
		"validation of a delegated token":         delegated,
		"validation for another audience":         {"failure": "OAUTH_JWT_CLAIM_COMPARISON_FAILED"},
		"revocation of an unknown token":          nil,
		"codes of a device":                       {"interval": 5.0, "verification_uri": url + "/device"},
		"device before the approval":              {"failure": answered, "error": "authorization_pending"},
		"device too soon":                         {"failure": answered, "error": "slow_down"},
		"approval":                                nil,
		"device again":                            {"failure": answered, "error": "invalid_grant"},
		"protected resource with a forged token": {"failure": challenged, "status": 401.0,
			"challenges": challenge("bearer", "error", "invalid_token", "scope", "reports:read",
				"resource_metadata", metadata)},
		"protected resource without the scope": {"failure": challenged, "status": 403.0,
			"challenges": challenge("bearer", "error", "insufficient_scope", "scope", "reports:read",
				"resource_metadata", metadata)},
	})
	requireResults(t, want, f.runScript(t, "oauth4webapi.mjs"))
}
