package githubtest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	rateLimit   = 5000 // calls per hour
	defaultPage = 30   // entries per page
	maxPage     = 100
)

// object is a JSON object.
type object = map[string]any

// resource is a resource of the REST API that a client can read with GET.
type resource struct {
	endpoint Endpoint

	// If scopes is empty, every token can read the resource. If not, a token needs at least one of
	// the scopes. If a token has none of them, the field denied has the status of the response.
	scopes []string
	denied int

	// If permission is not empty, a GitHub App needs it. If hidden is true, an app without the permission
	// gets an empty list instead of an error.
	permission string
	hidden     bool

	// read returns the JSON of the response: an object, or a []object for a list.
	read func(request apiRequest) any
}

// apiRequest is an authenticated request.
type apiRequest struct {
	api, web string // base URLs
	user     User
	scopes   []string
	query    url.Values
}

// resource returns the handler of GET requests for the resource.
func (s *Server) resource(res resource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.apiHeaders(w)
		if r.UserAgent() == "" {
			http.Error(w,
				"Request forbidden by administrative rules. A User-Agent header is required.",
				http.StatusForbidden)
			return
		}
		request, message := s.authenticate(r)
		if message != "" {
			apiError(w, http.StatusUnauthorized, message)
			return
		}
		var answer any
		switch {
		case !s.isGitHubApp():
			w.Header().Set("X-OAuth-Scopes", strings.Join(request.scopes, ", "))
			w.Header().Set("X-Accepted-OAuth-Scopes", strings.Join(res.scopes, ", "))
			if res.scopes != nil && !allows(request.scopes, res.scopes) {
				deny(w, res)
				return
			}
			answer = res.read(request)
		case res.permission == "" || slices.Contains(s.permissions, res.permission):
			answer = res.read(request)
		case res.hidden:
			answer = []object{}
		default:
			apiError(w, http.StatusForbidden, "Resource not accessible by integration")
			return
		}
		if list, ok := answer.([]object); ok {
			answer = paginate(w, r, list)
		}
		s.writeUnlessKnown(w, r, answer)
	}
}

// writeUnlessKnown responds with the value and its ETag. If the client already has the value,
// according to the header If-None-Match, the response is 304 without a body. As at GitHub, a 304
// does not count against the rate limit.
func (s *Server) writeUnlessKnown(w http.ResponseWriter, r *http.Request, value any) {
	body := encode(value)
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("ETag", "W/"+tag)
	w.Header().Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP")
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		known = strings.TrimSpace(known)
		if known == "*" || strings.TrimPrefix(known, "W/") == tag {
			s.rateHeaders(w, -1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	writeBody(w, http.StatusOK, body)
}

// authenticate finds the user of the access token in the request. If there is no valid token, it
// returns GitHub's error message.
func (s *Server) authenticate(r *http.Request) (apiRequest, string) {
	scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return apiRequest{}, "Requires authentication"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, user, ok := s.token(strings.TrimSpace(access))
	if !ok {
		return apiRequest{}, "Bad credentials"
	}
	return apiRequest{apiURL(r), baseURL(r), user, token.Scopes, r.URL.Query()}, ""
}

// deny responds to a request whose token lacks the scopes for the resource. If GitHub hides the
// existence of the resource, the status is 404.
func deny(w http.ResponseWriter, res resource) {
	if res.denied == http.StatusNotFound {
		apiError(w, http.StatusNotFound, "Not Found")
		return
	}
	apiError(w, res.denied, fmt.Sprintf("You need at least %s scope to do this.", res.scopes[0]))
}

// paginate returns one page of the list. The query of the request selects the page. paginate also
// sets a Link header with the URLs of other pages.
func paginate(w http.ResponseWriter, r *http.Request, list []object) []object {
	query := r.URL.Query()
	size := between(query.Get("per_page"), defaultPage, maxPage)
	page := between(query.Get("page"), 1, len(list)+1)
	last := max(1, (len(list)+size-1)/size)

	var links []string
	link := func(rel string, to int) {
		target := *r.URL
		query.Set("page", strconv.Itoa(to))
		target.RawQuery = query.Encode()
		links = append(links, fmt.Sprintf(`<%s%s>; rel="%s"`, baseURL(r), target.RequestURI(), rel))
	}
	if page > 1 {
		link("prev", min(page-1, last))
	}
	if page < last {
		link("next", page+1)
		link("last", last)
	}
	if page > 1 {
		link("first", 1)
	}
	if links != nil {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	from := min((page-1)*size, len(list))
	return list[from:min(from+size, len(list))]
}

// between parses a positive number and returns the number, but at most the limit. If the text is
// not a positive number, between returns the fallback. The fallback is GitHub's default.
func between(text string, fallback, limit int) int {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return fallback
	}
	return min(number, limit)
}

// apiHeaders sets the headers of every response of the REST API. The rate-limit headers count the
// calls of the current hour, but a call beyond the limit is not refused.
func (s *Server) apiHeaders(w http.ResponseWriter) {
	s.rateHeaders(w, 1)
	header := w.Header()
	header.Set("X-GitHub-Request-Id", requestID())
	header.Set("X-GitHub-Media-Type", "github.v3; format=json")
	header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	header.Set("X-Content-Type-Options", "nosniff")
}

// rateHeaders adds a number of calls to the calls of this hour, and sets the rate-limit headers.
func (s *Server) rateHeaders(w http.ResponseWriter, calls int) {
	now := s.now()
	used := min(s.rateUsed(now, calls), rateLimit)
	header := w.Header()
	header.Set("X-RateLimit-Limit", strconv.Itoa(rateLimit))
	header.Set("X-RateLimit-Used", strconv.Itoa(used))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(rateLimit-used))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(now.Truncate(time.Hour).Add(time.Hour).Unix(),
		10))
	header.Set("X-RateLimit-Resource", "core")
}

// rateUsed adds a number of calls to the calls of this hour, and returns their number.
func (s *Server) rateUsed(now time.Time, calls int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hour := now.Truncate(time.Hour); !hour.Equal(s.rateHour) {
		s.rateHour, s.rateCount = hour, 0
	}
	s.rateCount = max(0, s.rateCount+calls)
	return s.rateCount
}

// apiError responds with an error in GitHub's format.
func apiError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, object{
		"message":           message,
		"documentation_url": "https://docs.github.com/rest",
		"status":            strconv.Itoa(status),
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) { writeBody(w, status, encode(value)) }

// encode returns the JSON encoding of the value.
func encode(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // only a bug in this package can cause an error
	}
	return body
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has disconnected
}
