// Package workload lets programs sign in without a stored secret. A CI job or a pod gets a signed text from
// its platform, the assertion, which says who the program is. The program sends the assertion to POST
// /auth/token and gets a token of the service (RFC 7523).
//
// The host lists which programs may sign in, and as which service user:
//
//	verifier, err := workload.New(svc, workload.Config{Workloads: []workload.Workload{deploy}})
//	if err != nil {
//		return err
//	}
//	server, err := oauth.New(svc, oauth.Config{Workloads: verifier})
//
// [GitHubActions] and [Kubernetes] return workloads of these platforms. Every other OpenID Connect issuer
// works, too. Package workloadtest has a fake issuer for the tests of a host.
//
// # Security
//
// An issuer such as GitHub signs assertions for everybody. So the claims of a [Workload] must say which
// program is meant, with IDs that the platform never gives to anyone else. A name can be given up, and taken
// by another person.
//
// The verifier connects only to the issuers of the configuration, and by default only to public addresses.
// It follows no redirects and uses no proxy.
package workload
