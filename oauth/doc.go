// Package oauth serves the OAuth 2.0 calls of a service, for clients that know OAuth but not the
// service's own calls:
//
//   - POST /auth/token exchanges an access key for a token (RFC 6749, section 4.4), and a user's token for a
//     delegated token (RFC 8693). The parameter resource chooses the audience of the token (RFC 8707).
//   - POST /auth/revoke revokes a token (RFC 7009).
//   - POST /auth/introspect tells another service whether a token is valid (RFC 7662).
//   - GET /.well-known/oauth-authorization-server and /.well-known/oauth-protected-resource describe the
//     service (RFC 8414, RFC 9728).
//
// A host mounts them beside the calls of the service:
//
//	server, err := oauth.New(svc)
//	if err != nil {
//		return err
//	}
//	svc.Mount(mux)
//	server.Mount(mux)
//
// The client_id of a client is its access key, and the client_secret is the access secret. A client sends
// them in the Authorization header or in the form, and never in the URL.
package oauth
