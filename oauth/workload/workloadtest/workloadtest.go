// Package workloadtest has a fake issuer of assertions, for the tests of hosts that use package workload. It
// serves real signatures on loopback, and can be made to fail in the ways in which issuers fail.
package workloadtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-go/auth/oauth/workload"
)

// Issuer is a fake issuer with one signing key. It is safe for concurrent use.
type Issuer struct {
	server *httptest.Server
	gone   chan struct{} // closed by Close
	now    func() time.Time

	mu       sync.Mutex
	key      key
	fault    Fault
	requests int
}

// Fault is a way in which an [Issuer] answers requests for its keys.
type Fault int

// The faults of an issuer. The zero Fault answers as it should.
const (
	Healthy     Fault = iota
	Down              // status 503
	Gone              // status 404
	Forbidden         // status 403, as from a firewall in front of the issuer
	Hang              // no answer, until the client gives up
	Huge              // an answer without an end
	Redirect          // a redirect to the same path of another server, which answers as it should
	Garbage           // an answer that is not JSON
	NoKeys            // an empty JWK set
	OtherIssuer       // a document that names another issuer
)

// Start returns an Issuer that listens on a loopback address. The clock sets the times of assertions; nil
// means time.Now. Call [Issuer.Close] at the end of a test.
func Start(now func() time.Time) *Issuer {
	if now == nil {
		now = time.Now
	}
	i := &Issuer{now: now, key: newKey("EdDSA"), gone: make(chan struct{})}
	i.server = httptest.NewServer(http.HandlerFunc(i.serve))
	return i
}

// Close stops the issuer. It ends the requests that a fault keeps waiting. Call it once.
func (i *Issuer) Close() {
	close(i.gone)
	i.server.Close()
}

// URL returns the URL of the issuer, for [workload.Workload].
func (i *Issuer) URL() string { return i.server.URL }

// Settings returns the settings with which a verifier connects to the issuer, for [workload.Config].
func (i *Issuer) Settings() workload.Issuer {
	return workload.Issuer{URL: i.URL(), Networks: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

// SetFault makes the issuer answer with the fault from now on.
func (i *Issuer) SetFault(fault Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = fault
}

// UseKey replaces the signing key by a new one for the algorithm, which is RS256, ES256 or EdDSA. The issuer
// no longer publishes the earlier key. UseKey panics for another algorithm.
func (i *Issuer) UseKey(algorithm string) {
	made := newKey(algorithm)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = made
}

// Requests returns how many requests the issuer has got.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// Sign returns an assertion with the claims. Unless they are among them, it adds iss, sub, iat, exp (in five
// minutes) and a random jti. A claim that is nil is left out. Sign panics if a claim has no JSON form.
func (i *Issuer) Sign(claims map[string]any) string {
	now := i.now().Unix()
	all := map[string]any{"iss": i.URL(), "sub": "workload", "iat": now, "exp": now + 300, "jti": rand.Text()}
	for name, value := range claims {
		all[name] = value
	}
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("workloadtest: Sign: %v", err))
	}
	return i.SignText(nil, string(payload))
}

// SignText returns an assertion whose payload is the text, which can be anything. The fields are added to the
// header of the assertion, or replace its alg, kid and typ. A field that is nil is left out. The signature is
// always that of the signing key.
func (i *Issuer) SignText(fields map[string]any, payload string) string {
	i.mu.Lock()
	signing := i.key
	i.mu.Unlock()
	header := map[string]any{"alg": signing.algorithm, "kid": signing.id, "typ": "JWT"}
	for name, value := range fields {
		header[name] = value
		if value == nil {
			delete(header, name)
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		panic(fmt.Sprintf("workloadtest: SignText: %v", err))
	}
	signed := encode(text) + "." + encode([]byte(payload))
	return signed + "." + encode(signing.sign([]byte(signed)))
}

// GitHubActions returns the claims of a job in GitHub Actions, as GitHub spells them. The caller can change
// them before they are signed.
func GitHubActions(ownerID, repositoryID int64, audience string) map[string]any {
	return map[string]any{
		"aud":                 audience,
		"sub":                 "repo:octo-org/octo-repo:ref:refs/heads/main",
		"repository":          "octo-org/octo-repo",
		"repository_id":       fmt.Sprint(repositoryID),
		"repository_owner":    "octo-org",
		"repository_owner_id": fmt.Sprint(ownerID),
		"ref":                 "refs/heads/main",
		"ref_type":            "branch",
		"event_name":          "push",
		"workflow_ref":        "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
		"run_id":              "1",
		"runner_environment":  "github-hosted",
	}
}

// Kubernetes returns the claims of a projected token of a pod, as an API server spells them.
func Kubernetes(namespace, serviceAccountUID, audience string) map[string]any {
	return map[string]any{
		"aud": []string{audience},
		"sub": "system:serviceaccount:" + namespace + ":reporter",
		"kubernetes.io": map[string]any{
			"namespace":      namespace,
			"node":           map[string]any{"name": "node-1", "uid": "5e8d6f0e-9d0a-4f1e-8f0a-000000000001"},
			"pod":            map[string]any{"name": "reporter-0", "uid": "5e8d6f0e-9d0a-4f1e-8f0a-000000000002"},
			"serviceaccount": map[string]any{"name": "reporter", "uid": serviceAccountUID},
		},
	}
}

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// serve answers a request for the document of the issuer or for its keys.
func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests++
	fault, signing := i.fault, i.key
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case fault == Down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case fault == Gone:
		w.WriteHeader(http.StatusNotFound)
	case fault == Forbidden:
		w.WriteHeader(http.StatusForbidden)
	case fault == Garbage:
		fmt.Fprint(w, "<html>")
	case fault == Redirect && !strings.HasPrefix(r.URL.Path, "/elsewhere"):
		http.Redirect(w, r, strings.Replace(i.URL(), "127.0.0.1", "localhost", 1)+"/elsewhere"+r.URL.Path,
			http.StatusFound)
	case fault == Hang:
		select {
		case <-r.Context().Done():
		case <-i.gone:
		}
	case fault == Huge:
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	default:
		i.answer(w, strings.TrimPrefix(r.URL.Path, "/elsewhere"), fault, signing)
	}
}

func (i *Issuer) answer(w http.ResponseWriter, path string, fault Fault, signing key) {
	switch path {
	case "/.well-known/openid-configuration":
		name := i.URL()
		if fault == OtherIssuer {
			name = "https://issuer.example.com"
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": name, "jwks_uri": i.URL() + "/keys"})
	case "/keys":
		keys := []any{}
		if fault != NoKeys {
			keys = append(keys, signing.public())
		}
		json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
