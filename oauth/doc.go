// Package oauth serves the OAuth 2.0 calls of a service, for clients that know OAuth but not the
// service's own calls:
//
//   - POST /auth/token exchanges an access key for a token (RFC 6749, section 4.4), a user's token for a
//     delegated token (RFC 8693), and the assertion of a CI job or another workload for a token (RFC 7523),
//     if [Config] says so. The parameter resource chooses the audience of the token (RFC 8707).
//   - POST /auth/device gives codes to a device, such as a command line (RFC 8628). A person types the short
//     code into a browser and approves the device, which then gets a token at POST /auth/token. The page
//     calls POST /auth/device/lookup, /auth/device/approve and /auth/device/deny.
//   - POST /auth/revoke revokes a token (RFC 7009).
//   - POST /auth/introspect tells another service whether a token is valid (RFC 7662).
//   - GET /.well-known/oauth-authorization-server and /.well-known/oauth-protected-resource describe the
//     service (RFC 8414, RFC 9728).
//
// A host mounts them beside the calls of the service:
//
//	server, err := oauth.New(svc, oauth.Config{})
//	if err != nil {
//		return err
//	}
//	svc.Mount(mux)
//	server.Mount(mux)
//
// The client_id of a client is its access key, and the client_secret is the access secret. A client sends
// them in the Authorization header or in the form, and never in the URL. Only the programs on devices have
// client IDs of their own, which [Config.DeviceClients] lists, and no secrets.
//
// A page of another origin can post only with an Authorization header, for which a browser first asks the
// service in a preflight request. Otherwise, any page could use up the limits of its visitors' addresses.
package oauth
