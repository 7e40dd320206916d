package githubtest

import (
	"net/http"
	"strings"
)

// apiPath is the path of the REST API on GitHub Enterprise Server. The fake serves the API at this
// path, and also at the root, as api.github.com does.
const apiPath = "/api/v3"

// Endpoint identifies an endpoint of GitHub. An example is "GET /user".
type Endpoint string

// The endpoints of the fake. The name of a REST endpoint stands for its path with and without the
// prefix "/api/v3".
const (
	EndpointAuthorize   Endpoint = "/login/oauth/authorize" // the page and its form
	EndpointAccessToken Endpoint = "POST /login/oauth/access_token"
	EndpointUser        Endpoint = "GET /user"
	EndpointEmails      Endpoint = "GET /user/emails"
	EndpointMemberships Endpoint = "GET /user/memberships/orgs"
	EndpointOrgs        Endpoint = "GET /user/orgs"
	EndpointTeams       Endpoint = "GET /user/teams"
	EndpointRepos       Endpoint = "GET /user/repos"
	EndpointCheckToken  Endpoint = "POST /applications/{client_id}/token"
	EndpointResetToken  Endpoint = "PATCH /applications/{client_id}/token"
	EndpointDeleteToken Endpoint = "DELETE /applications/{client_id}/token"
	EndpointDeleteGrant Endpoint = "DELETE /applications/{client_id}/grant"
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(string(EndpointAuthorize), s.authorize)
	mux.HandleFunc(string(EndpointAccessToken), s.accessToken)
	mux.HandleFunc("GET /avatars/u/{id}", avatar)
	mux.HandleFunc("/", s.notFound)

	api := func(endpoint Endpoint, handler http.HandlerFunc) {
		method, path, _ := strings.Cut(string(endpoint), " ")
		mux.HandleFunc(method+" "+path, handler)
		mux.HandleFunc(method+" "+apiPath+path, handler)
	}
	for _, resource := range resources {
		api(resource.endpoint, s.resource(resource))
	}
	api(EndpointCheckToken, s.application(s.checkToken))
	api(EndpointResetToken, s.application(s.resetToken))
	api(EndpointDeleteToken, s.application(s.deleteToken))
	api(EndpointDeleteGrant, s.application(s.deleteGrant))
	return mux
}

// endpoint returns the endpoint of the request.
func (s *Server) endpoint(r *http.Request) Endpoint {
	_, pattern := s.mux.Handler(r)
	return Endpoint(strings.Replace(pattern, " "+apiPath+"/", " /", 1))
}

// apiURL returns the base URL of the REST API. If the path of the request begins with apiPath, the
// base URL has this path too.
func apiURL(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, apiPath+"/") {
		return baseURL(r) + apiPath
	}
	return baseURL(r)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.apiHeaders(w)
	apiError(w, http.StatusNotFound, "Not Found")
}
