package oauth

import "net/http"

// The well-known paths of the metadata (RFC 8414, section 3, and RFC 9728, section 3).
const (
	authorizationServer = "/.well-known/oauth-authorization-server"
	protectedResource   = "/.well-known/oauth-protected-resource"
)

// serverMetadata describes the calls of the server (RFC 8414, section 2).
type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint,omitempty"` // RFC 8628, section 4
	JWKSURI               string   `json:"jwks_uri,omitempty"`
	Scopes                []string `json:"scopes_supported,omitempty"` // RFC 8414, section 3.2
	ResponseTypes         []string `json:"response_types_supported"`   // none, but section 2 requires it
	Grants                []string `json:"grant_types_supported"`
	TokenAuth             []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`

	// ChallengeMethods are methods of PKCE (RFC 7636). There is no authorization endpoint that needs them.
	// But clients of the Model Context Protocol refuse every server without them, also for other grants.
	ChallengeMethods []string `json:"code_challenge_methods_supported"`
}

// ServerMetadataHandler handles GET /.well-known/oauth-authorization-server. If the issuer has a path,
// the path follows.
func (s *Server) ServerMetadataHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		issuer := s.svc.Tokens().Issuer()
		methods := []string{"client_secret_basic", "client_secret_post"}
		metadata := serverMetadata{
			Issuer: issuer, TokenEndpoint: issuer + "/auth/token",
			RevocationEndpoint:    issuer + "/auth/revoke",
			IntrospectionEndpoint: issuer + "/auth/introspect", JWKSURI: s.jwksURI(),
			Scopes: s.scopes(), ResponseTypes: []string{}, Grants: []string{grantClient, grantExchange},
			TokenAuth: methods, RevocationAuth: methods, IntrospectionAuth: append(methods, "Bearer"),
			ChallengeMethods: []string{"S256"},
		}
		if s.devices != nil {
			metadata.DeviceEndpoint = issuer + "/auth/device"
			metadata.Grants = append(metadata.Grants, grantDevice)
		}
		if s.workloads != nil {
			metadata.Grants = append(metadata.Grants, grantAssertion)
		}
		if s.devices != nil || s.workloads != nil { // device clients and workloads have no secret
			metadata.TokenAuth = append(methods, "none")
		}
		writeMetadata(w, metadata)
	})
}

// resourceMetadata describes the service as a protected resource (RFC 9728, section 2).
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported,omitempty"` // RFC 9728, section 3.2
	Methods  []string `json:"bearer_methods_supported"`
}

// ResourceMetadataHandler handles GET /.well-known/oauth-protected-resource. If the issuer has a path,
// the path follows.
func (s *Server) ResourceMetadataHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		issuer := s.svc.Tokens().Issuer()
		writeMetadata(w, resourceMetadata{Resource: issuer, Servers: []string{issuer}, Scopes: s.scopes(),
			Methods: []string{"header"}})
	})
}

// resourceMetadataURL returns the URL of the metadata that ResourceMetadataHandler serves.
func (s *Server) resourceMetadataURL() string {
	return s.issuer.Scheme + "://" + s.issuer.Host + protectedResource + s.issuer.EscapedPath()
}

// jwksURI returns the URL of the public keys, or "" if there are none.
func (s *Server) jwksURI() string {
	if string(s.svc.Tokens().JWKS()) == `{"keys":[]}` {
		return ""
	}
	return s.svc.Tokens().Issuer() + "/.well-known/jwks.json"
}

// scopes returns the scopes that a key can have.
func (s *Server) scopes() []string { return s.svc.Tokens().Scopes().List() }

// writeMetadata writes an answer that is public and may be stored for five minutes.
func writeMetadata(w http.ResponseWriter, answer any) {
	writeAnswer(cacheable{w}, http.StatusOK, answer)
}

// cacheable lets caches store an answer of [writeAnswer].
type cacheable struct{ http.ResponseWriter }

// WriteHeader replaces the header Cache-Control.
func (c cacheable) WriteHeader(status int) {
	c.Header().Del("Pragma")
	c.Header().Set("Cache-Control", "public, max-age=300")
	c.ResponseWriter.WriteHeader(status)
}
