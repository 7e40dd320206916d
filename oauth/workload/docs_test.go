package workload_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

// yamlBlock returns the block of docs/workloads.md that the named test checks.
func yamlBlock(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/workloads.md")
	require.NoError(t, err)
	pattern := regexp.MustCompile("(?s)<!-- checked by: " + t.Name() + " -->\n```yaml\n(.*?)```")
	block := pattern.FindSubmatch(page)
	require.NotNil(t, block)
	return string(block[1])
}

// workflow has the parts of a workflow that the page uses.
type workflow struct {
	Name        string
	On          struct{ Push struct{ Branches []string } }
	Permissions map[string]string
	Env         map[string]string
	Jobs        map[string]struct {
		RunsOn      string `yaml:"runs-on"`
		Environment string
		Defaults    struct{ Run struct{ Shell string } }
		Steps       []struct{ Name, Run string }
	}
}

func TestTheWorkflowOfThePageUploadsAReport(t *testing.T) {
	t.Parallel()
	var w workflow
	decoder := yaml.NewDecoder(strings.NewReader(yamlBlock(t)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&w))
	require.ErrorIs(t, decoder.Decode(&w), io.EOF)
	require.Equal(t, "write", w.Permissions["id-token"])
	require.Equal(t, "production", w.Jobs["report"].Environment)
	require.Equal(t, "bash", w.Jobs["report"].Defaults.Run.Shell)

	github := workloadtest.Start(nil)
	defer github.Close()
	server, svc, deployer := newHost()
	defer server.Close()
	deploy := workload.GitHubActions(65, 74,
		workload.GitHubActionsOptions{Issuer: github.URL(), Environment: "production"})
	deploy.UserID, deploy.Scopes = deployer.ID, auth.NewScopes("reports:write")
	verifier, err := workload.New(svc, workload.Config{Workloads: []workload.Workload{deploy},
		Issuers: []workload.Issuer{github.Settings()}})
	require.NoError(t, err)
	mount(server, svc, verifier)
	runner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer runner" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		claims := workloadtest.GitHubActions(65, 74, r.URL.Query().Get("audience"))
		claims["environment"] = "production"
		fmt.Fprintf(w, `{"count":1,"value":%q}`, github.Sign(claims))
	}))
	defer runner.Close()

	dir := t.TempDir()
	environment := filepath.Join(dir, "environment")
	// A machine that runs the tests may have no jq.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jq"),
		[]byte("#!/bin/sh\nsed -n 's/.*\"'\"${2#.}\"'\":\"\\([^\"]*\\)\".*/\\1/p'\n"), 0o700))
	variables := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SERVICE="+server.URL,
		"GITHUB_ENV="+environment, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=runner",
		"ACTIONS_ID_TOKEN_REQUEST_URL="+runner.URL+"/?api-version=2.0")
	for _, step := range w.Jobs["report"].Steps {
		exported, err := os.ReadFile(environment)
		if err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
		cmd.Env = append(variables, strings.Fields(string(exported))...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", step.Name, out)
	}
}

// account and pod have the parts of the objects that the page uses.
type metadata struct{ Name, Namespace string }

type account struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
}

type pod struct {
	account `yaml:",inline"`
	Spec    struct {
		ServiceAccountName string `yaml:"serviceAccountName"`
		Automount          bool   `yaml:"automountServiceAccountToken"`
		Containers         []struct {
			Name, Image  string
			Env          []struct{ Name, Value string }
			VolumeMounts []struct {
				Name      string
				MountPath string `yaml:"mountPath"`
				ReadOnly  bool   `yaml:"readOnly"`
			} `yaml:"volumeMounts"`
		}
		Volumes []struct {
			Name      string
			Projected struct {
				Sources []struct {
					Token struct {
						Path, Audience    string
						ExpirationSeconds int `yaml:"expirationSeconds"`
					} `yaml:"serviceAccountToken"`
				}
			}
		}
	}
}

func TestThePodOfThePageHasItsAssertion(t *testing.T) {
	t.Parallel()
	decoder := yaml.NewDecoder(strings.NewReader(yamlBlock(t)))
	decoder.KnownFields(true)
	var a account
	var p pod
	require.NoError(t, decoder.Decode(&a))
	require.NoError(t, decoder.Decode(&p))
	require.ErrorIs(t, decoder.Decode(&p), io.EOF)
	require.Equal(t, []string{"v1", "ServiceAccount", "v1", "Pod"},
		[]string{a.APIVersion, a.Kind, p.APIVersion, p.Kind})
	require.Equal(t, a.Metadata.Name, p.Spec.ServiceAccountName)
	require.Equal(t, a.Metadata.Namespace, p.Metadata.Namespace)
	container, volume := p.Spec.Containers[0], p.Spec.Volumes[0]
	token := volume.Projected.Sources[0].Token
	require.Equal(t, volume.Name, container.VolumeMounts[0].Name)
	require.Equal(t, "SERVICE", container.Env[0].Name)
	require.Equal(t, token.Audience, container.Env[0].Value)
	require.Equal(t, "ASSERTION_FILE", container.Env[1].Name)
	require.Equal(t, path.Join(container.VolumeMounts[0].MountPath, token.Path), container.Env[1].Value)
	require.GreaterOrEqual(t, token.ExpirationSeconds, 600, "Kubernetes accepts no less")
	require.LessOrEqual(t, token.ExpirationSeconds, 3600)
}
