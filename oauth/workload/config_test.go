package workload_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/oauth/workload"
)

func TestAWorkloadThatIsNotValidSaysWhatToChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	type W = workload.Workload
	for reason, change := range map[string]func(w *W){
		"Issuer must be an https URL of at most 256 bytes": func(w *W) { w.Issuer = "" },
		"Issuer must be an https URL":                      func(w *W) { w.Issuer = "http://issuer.example.com" },
		"Issuer must be an https URL of":                   func(w *W) { w.Issuer = "https://" + strings.Repeat("x", 256) },
		"Issuer must be a URL without a user":              func(w *W) { w.Issuer = "https://user:secret@x.example.com" },
		"Issuer must be a URL without a user, a query":     func(w *W) { w.Issuer = "https://issuer.example.com?" },
		"UserID is required":                               func(w *W) { w.UserID = "" },
		"Claims is empty: every program":                   func(w *W) { w.Claims = nil },
		"Lifetime must be whole seconds":                   func(w *W) { w.Lifetime = -time.Second },
		"Lifetime must be whole seconds, and":              func(w *W) { w.Lifetime = 1500 * time.Millisecond },
		"Scopes is required, because":                      func(w *W) { w.Scopes = nil },
		"Scopes must be scopes of TokenConfig":             func(w *W) { w.Scopes = auth.NewScopes("x") },
		"Scopes: auth: scopes must each be":                func(w *W) { w.Scopes = auth.NewScopes(" ") },
		`Claims["a"] must be text of 1 to 1024`:            func(w *W) { w.Claims["a"] = "" },
		`Claims["b"] must be text of 1 to`:                 func(w *W) { w.Claims["b"] = "\ufffd" },
		`Claims["c"] is a float64`:                         func(w *W) { w.Claims["c"] = 1.5 },
		`Claims["d"] is a <nil>`:                           func(w *W) { w.Claims["d"] = nil },
		`Claims["e"] is empty`:                             func(w *W) { w.Claims["e"] = workload.Claims{} },
		`Claims["f"]["g"] must be text`:                    func(w *W) { w.Claims["f"] = workload.Claims{"g": ""} },
		`Claims["h"] is empty`:                             func(w *W) { w.Claims["h"] = []string{} },
		`Claims["i"][1] must be text`:                      func(w *W) { w.Claims["i"] = []string{"a", ""} },
		`Claims["repository_id"] must be text`:             func(w *W) { *w = gitHub(f, 1, 0) },
		`Claims["repository_owner_id"] must be`:            func(w *W) { *w = gitHub(f, -1, 1) },
	} {
		changed := gitHub(f, owner, repository)
		change(&changed)
		_, err := workload.New(f.svc, workload.Config{Workloads: []W{f.workload, changed}})
		require.ErrorContains(t, err, "workload: Config.Workloads[1]."+reason)
		require.NotContains(t, err.Error(), "secret")
	}
}

func gitHub(f *fixture, ownerID, repositoryID int64) workload.Workload {
	w := workload.GitHubActions(ownerID, repositoryID, workload.GitHubActionsOptions{})
	w.UserID, w.Scopes = f.deployer.ID, auth.NewScopes("reports:read")
	return w
}

func TestSettingsOfIssuersThatAreNotValidSayWhatToChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	own := f.issuer.Settings()
	for reason, issuers := range map[string][]workload.Issuer{
		"Issuers has https://other.example.com, of which": {{URL: "https://other.example.com"}},
		"Issuers[1].URL is in the list twice":             {own, own},
		"Issuers[0].KeysURL is required with TokenFile":   {{URL: own.URL, TokenFile: "token"}},
		"Issuers[0].KeysURL must be an https URL":         {{URL: own.URL, KeysURL: "http://keys.example.com"}},
	} {
		cfg := workload.Config{Workloads: []workload.Workload{f.workload}, Issuers: issuers}
		_, err := workload.New(f.svc, cfg)
		require.ErrorContains(t, err, "workload: Config."+reason)
	}
	_, err := workload.New(f.svc, workload.Config{})
	require.ErrorContains(t, err, "workload: Config.Workloads is empty")
	_, err = workload.New(nil, workload.Config{})
	require.EqualError(t, err, "workload: New needs a Service")
}
