package workload_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

// Names in GitHub can be given up and taken by others, and IDs cannot.
func TestARepositoryIsItsID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign("repository", "octo-org/renamed", "repository_owner", "renamed-org",
		"sub", "repo:renamed-org/renamed:environment:x", "job_workflow_ref", "x"))
	require.NoError(t, err, "a repository that was renamed")
	f.requireRejected(`"repository_id"`, f.sign("repository_id", "999"))             // deleted and made again
	f.requireRejected(`"repository_owner_id"`, f.sign("repository_owner_id", "999")) // moved to another owner
	f.requireRejected(`"repository_id"`, f.sign("repository_id", nil))
	_, err = f.verify(f.sign("sub", "repository_owner:octo-org")) // each repository can choose its sub
	require.NoError(t, err)
}

// The attack: somebody opens a pull request or writes a comment, and a workflow runs with the rights of the
// repository.
func TestJobsThatStrangersCauseDoNotSignIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, event := range []any{
		"pull_request", "pull_request_target", "workflow_run", "issue_comment", "issues", "discussion_comment",
		"watch", "fork", "pull_request_review", "check_run", "a new one", "", "Push", []string{"push"},
		nil, // GitHub no longer says which event
	} {
		f.requireRejected(`"event_name"`, f.sign("event_name", event))
	}
	for _, event := range []string{"push", "workflow_dispatch", "schedule"} {
		_, err := f.verify(f.sign("event_name", event))
		require.NoError(t, err, event)
	}
	allowed := newFixture(t, func(f *fixture, _ *workload.Config) {
		f.workload = workload.GitHubActions(owner, repository, workload.GitHubActionsOptions{
			Issuer: f.issuer.URL(), InsecureEvents: []string{"workflow_run", "pull_request"}})
		f.workload.UserID, f.workload.Scopes = f.deployer.ID, auth.NewScopes("reports:read")
	})
	for _, event := range []string{"workflow_run", "pull_request", "push"} {
		_, err := allowed.verify(allowed.sign("event_name", event))
		require.NoError(t, err, event)
	}
	allowed.requireRejected(`"event_name"`, allowed.sign("event_name", "pull_request_target"))
}

func TestTheOptionsOfGitHubActionsAreConditions(t *testing.T) {
	t.Parallel()
	const file = "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main"
	f := newFixture(t, func(f *fixture, _ *workload.Config) {
		f.workload = workload.GitHubActions(owner, repository, workload.GitHubActionsOptions{
			Issuer: f.issuer.URL(), Ref: "refs/heads/main", Environment: "production", WorkflowRef: file})
		f.workload.UserID, f.workload.Scopes = f.deployer.ID, auth.NewScopes("reports:read")
	})
	_, err := f.verify(f.sign("environment", "production"))
	require.NoError(t, err)
	for name, values := range map[string][]any{
		"ref":          {"refs/heads/main2", "refs/tags/main", "main", "refs/heads/Main", nil},
		"environment":  {"staging", "production ", "Production", nil},
		"workflow_ref": {"octo-org/octo-repo/.github/workflows/test.yml@refs/heads/main", file + "2", nil},
	} {
		for _, value := range values {
			f.requireRejected(`"`+name+`"`, f.sign("environment", "production", name, value))
		}
	}
	require.Equal(t, "https://token.actions.githubusercontent.com",
		workload.GitHubActions(owner, repository, workload.GitHubActionsOptions{}).Issuer)
}

func TestAPodSignsInWithItsProjectedToken(t *testing.T) {
	t.Parallel()
	const uid = "2b9c1a4e-0000-4000-8000-000000000001"
	f := newFixture(t, func(f *fixture, _ *workload.Config) {
		f.workload = workload.Kubernetes(f.issuer.URL(), "prod", uid)
		f.workload.UserID, f.workload.Scopes = f.deployer.ID, auth.NewScopes("reports:read")
	})
	token := func(namespace, uid, audience string) string {
		return f.issuer.Sign(workloadtest.Kubernetes(namespace, uid, audience))
	}
	right := token("prod", uid, f.url)
	for range 3 { // the token is in a file, and the pod presents it again
		require.Equal(t, 200, f.post(right).status)
	}
	f.requireRejected(`"kubernetes.io"`, token("test", uid, f.url))
	f.requireRejected(`"kubernetes.io"`, token("prod", "2b9c1a4e-0000-4000-8000-000000000002", f.url))
	f.requireRejected("another audience", token("prod", uid, "https://kubernetes.default.svc"))
	f.requireRejected(`"kubernetes.io"`, f.sign())
	// Anybody who makes tokens of another issuer could write the name of the claim with a dot.
	f.requireRejected(`"kubernetes.io"`, f.sign("kubernetes.io.namespace", "prod",
		"kubernetes.io.serviceaccount.uid", uid))
}

func TestTheKeysOfAClusterAreReadWithTheFilesOfThePod(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	network := netip.MustParsePrefix("10.96.0.0/12")
	_, err := workload.InClusterFrom(dir, "https://kubernetes.default.svc.cluster.local", network)
	require.ErrorContains(t, err, "workload: InCluster: open")
	certificate := filepath.Join(dir, "ca.crt")
	require.NoError(t, os.Mkdir(certificate, 0o700))
	_, err = workload.InClusterFrom(dir, "https://kubernetes.default.svc.cluster.local", network)
	require.ErrorContains(t, err, "ca.crt: it is not a regular file")
	require.NoError(t, os.Remove(certificate))
	require.NoError(t, os.WriteFile(certificate, []byte("x"), 0o600))
	_, err = workload.InClusterFrom(dir, "https://kubernetes.default.svc.cluster.local", network)
	require.ErrorContains(t, err, "ca.crt has no certificate")
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(certificate, text, 0o600))
	settings, err := workload.InClusterFrom(dir, "https://kubernetes.default.svc.cluster.local", network)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	require.True(t, settings.RootCAs.Equal(roots))
	settings.RootCAs = nil
	require.Equal(t, workload.Issuer{
		URL: "https://kubernetes.default.svc.cluster.local", Networks: []netip.Prefix{network},
		KeysURL: "https://kubernetes.default.svc/openid/v1/jwks", TokenFile: filepath.Join(dir, "token"),
	}, settings)
	_, err = workload.InCluster("https://kubernetes.default.svc.cluster.local")
	require.Error(t, err, "this test runs in no pod")
}
