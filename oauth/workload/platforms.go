package workload

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sallyport-go/auth/internal/regularfile"
)

// gitHubIssuer is the issuer of GitHub Actions on github.com.
const gitHubIssuer = "https://token.actions.githubusercontent.com"

// GitHubActionsOptions are further conditions of [GitHubActions]. The zero value accepts every workflow of
// the repository, on every branch.
type GitHubActionsOptions struct {
	// Ref is the branch or the tag, such as "refs/heads/main". Empty means any.
	Ref string

	// Environment is the deployment environment, such as "production". GitHub can require that a person
	// approves a job of an environment. Empty means any environment, or none.
	Environment string

	// WorkflowRef is the file of the workflow and its ref, such as
	// "octo-org/app/.github/workflows/deploy.yml@refs/heads/main". It has the name of the repository, so it
	// changes when the repository is renamed. Empty means any.
	WorkflowRef string

	// InsecureEvents are further events whose jobs are accepted, such as "workflow_run". Anybody who opens a
	// pull request or writes a comment can cause a job of such an event, and the job has the rights of the
	// repository. Without this option, the event must be one that needs write access to the repository, such
	// as "push", or "schedule".
	//
	// With "pull_request", jobs run the code of a pull request before anybody has reviewed it. Usually,
	// GitHub gives no assertion to the jobs of pull requests from forks. But the setting "Send write tokens
	// to workflows from pull requests" of a private repository lets these jobs get one, too.
	InsecureEvents []string

	// Issuer is the issuer of a GitHub Enterprise Server, such as
	// "https://github.example.com/_services/token", or that of an enterprise at github.com which has its own.
	// Empty means github.com.
	Issuer string
}

// memberEvents are the events that need write access to the repository, and schedule.
var memberEvents = []string{"push", "merge_group", "create", "delete", "release",
	"deployment", "workflow_dispatch", "repository_dispatch", "schedule"}

// GitHubActions returns a workload for the jobs of a repository in GitHub Actions. The caller sets its UserID
// and Scopes. GET https://api.github.com/repos/OWNER/NAME shows both IDs, as "owner": {"id"} and "id".
//
// The conditions are the IDs of the owner and of the repository, the event, and those of the options. So a
// repository that is renamed is still accepted. One that is deleted and made again, or moves to another
// owner, is not.
func GitHubActions(ownerID, repositoryID int64, options GitHubActionsOptions) Workload {
	w := Workload{Issuer: gitHubIssuer, Claims: Claims{
		"repository_owner_id": idText(ownerID),
		"repository_id":       idText(repositoryID),
		"event_name":          slices.Concat(memberEvents, options.InsecureEvents),
	}}
	if options.Issuer != "" {
		w.Issuer = options.Issuer
	}
	for name, value := range map[string]string{
		"ref": options.Ref, "environment": options.Environment, "workflow_ref": options.WorkflowRef,
	} {
		if value != "" {
			w.Claims[name] = value
		}
	}
	return w
}

// idText returns the ID as it is in the claims of GitHub. For an ID that cannot exist, it returns a text that
// New refuses.
func idText(id int64) string {
	if id < 1 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// Kubernetes returns a workload for the pods of a service account. The caller sets its UserID and Scopes. The
// serviceAccountUID is metadata.uid of the service account: an account that is deleted and made again has
// another. The issuer is the --service-account-issuer of the cluster: see [InCluster] if its keys are not
// public.
//
// The workload is Reusable, because a pod finds its token in a file and presents it again. Its
// expirationSeconds must be 3600 or less. Set the audience of the token to that of the workload.
func Kubernetes(issuer, namespace, serviceAccountUID string) Workload {
	return Workload{Issuer: issuer, Reusable: true, Claims: Claims{"kubernetes.io": Claims{
		"namespace":      namespace,
		"serviceaccount": Claims{"uid": serviceAccountUID},
	}}}
}

// serviceAccountDir is where a pod has the files of its own service account.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// InCluster returns the settings of an issuer of Kubernetes whose keys only its API server has, for a service
// that runs in the same cluster. The networks are those in which the API server is: the address of the
// Service "kubernetes" in the namespace "default" must be in one of them.
//
// The service reads the keys with the token of its own service account, which every pod has unless
// automountServiceAccountToken is false. InCluster returns an error if the certificate of the cluster cannot
// be read.
func InCluster(issuer string, networks ...netip.Prefix) (Issuer, error) {
	return inCluster(serviceAccountDir, issuer, networks)
}

// maxCertificateFile is the maximum size of the certificates of the cluster, which are a few KiB.
const maxCertificateFile = 1 << 20

func inCluster(dir, issuer string, networks []netip.Prefix) (Issuer, error) {
	certificate, err := regularfile.Read(filepath.Join(dir, "ca.crt"), maxCertificateFile)
	if err != nil {
		return Issuer{}, fmt.Errorf("workload: InCluster: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		return Issuer{}, errors.New("workload: InCluster: ca.crt has no certificate")
	}
	return Issuer{URL: issuer, Networks: networks, RootCAs: roots, TokenFile: filepath.Join(dir, "token"),
		KeysURL: "https://kubernetes.default.svc/openid/v1/jwks"}, nil
}
