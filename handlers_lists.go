package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/wire"
)

// The default and the maximum number of users on one page.
const (
	usersPerPage    = 50
	maxUsersPerPage = 200
)

// userKinds has the kind of users for each value of the parameter kind. The value is empty if the parameter
// is missing.
var userKinds = map[string]UserKind{
	"": UserKindPerson, "person": UserKindPerson, "service": UserKindService, "all": "",
	"super_user": UserKindSuperUser,
}

// listUsersHandler handles GET /auth/users: it returns a page of users to a super user. The parameter kind
// is person, service, super_user or all. Default person. The parameter state is active or inactive. Default
// both. The parameter search selects the users whose username or e-mail begins with it, without regard to
// ASCII case.
//
// The users are in the order of [UserStore.ListUsers]: sorted by ID, or by name in a search. The page has up
// to 50 users, or up to the parameter limit, which is at most 200. If there are more users, the response has
// a Link header with the URL of the next page. Its parameter after is the [UserQuery.Position] of the last
// user, which is the user's ID unless there is a search.
func (s *Service) listUsersHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, scope: ScopeUsers,
		serve: s.serveUsers})
}

func (s *Service) serveUsers(w http.ResponseWriter, r *http.Request) (any, error) {
	query, err := listQuery(r, "search")
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(query, usersPerPage, maxUsersPerPage)
	if err != nil {
		return nil, err
	}
	kind, ok := userKinds[query.Get("kind")]
	if !ok {
		return nil, invalidf("kind", "must be person, service, super_user or all")
	}
	selected := UserQuery{After: query.Get("after"), Limit: limit + 1, Kind: kind,
		State: UserState(query.Get("state")), Search: query.Get("search")}
	if err := selected.Validate(); err != nil {
		return nil, err
	}
	users, err := s.users.ListUsers(r.Context(), selected)
	if err != nil {
		return nil, fmt.Errorf("auth: listing users: %w", err)
	}
	if len(users) > limit {
		users = users[:limit]
		query.Set("limit", strconv.Itoa(limit))
		query.Set("after", selected.Position(users[limit-1]))
		w.Header().Set("Link", "<"+pagePath(r)+"?"+query.Encode()+`>; rel="next"`)
	}
	response := make([]userResponse, len(users)) // encodes as [], not null, if empty
	for i, user := range users {
		response[i] = newUserResponse(user)
	}
	return response, nil
}

// listUserKeysHandler handles GET /auth/users/{id}/keys: it returns the access keys of the user to a super
// user, in the form of GET /auth/keys.
func (s *Service) listUserKeysHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, scope: ScopeUsers,
		serve: ofUser(s, s.listKeys)})
}

// listUserSessionsHandler handles GET /auth/users/{id}/sessions: it returns the sessions of the user to a
// super user, in the form of GET /auth/sessions.
func (s *Service) listUserSessionsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, scope: ScopeUsers,
		serve: ofUser(s, s.listSessions)})
}

// ofUser returns a function that serves a list of records of the user in the path. For a user who does not
// exist, it returns ErrNotFound: the list would be empty, as that of a user without records.
func ofUser[R any](
	s *Service, list func(ctx context.Context, userID string) ([]R, error),
) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		user, err := s.users.FindUser(r.Context(), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return list(r.Context(), user.ID)
	}
}

// The default and the maximum number of events on one page.
const (
	eventsPerPage    = 50
	maxEventsPerPage = 100
)

// listEventsHandler handles GET /auth/events?limit=50&before=<id>: it returns a page of the audit
// trail to a super user, the newest event first. With the parameter before, the page has only events
// that are older than the event with that ID. The parameters user_id and kind select events. The
// parameters from and to select events by their time, in the format of RFC 3339: from is the earliest
// time, and the events are before to. If there are older events, the response has a Link header with the
// URL of the next page. If there is no audit trail, the handler answers 404.
func (s *Service) listEventsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, scope: ScopeEvents,
		serve: s.serveEvents})
}

type eventResponse struct {
	ID        string               `json:"id"`
	Kind      eventkind.Kind       `json:"kind"`
	At        string               `json:"at"`
	UserID    string               `json:"user_id"`
	ActorID   string               `json:"actor_id"`
	Host      string               `json:"host"`
	SessionID string               `json:"session_id"`
	AccessKey string               `json:"access_key"`
	Method    SignInMethod         `json:"method"`
	GitHub    *eventGitHubResponse `json:"github"`
	Reason    string               `json:"reason"`
	IP        string               `json:"ip"`
	UserAgent string               `json:"user_agent"`
	RequestID string               `json:"request_id"`
}

type eventGitHubResponse struct {
	Host string `json:"host"`
	ID   int64  `json:"id"`
}

func (s *Service) serveEvents(w http.ResponseWriter, r *http.Request) (any, error) {
	if s.events.trail == nil {
		return nil, ErrNotFound
	}
	query, err := listQuery(r, "user_id")
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(query, eventsPerPage, maxEventsPerPage)
	if err != nil {
		return nil, err
	}
	filter := EventFilter{UserID: query.Get("user_id"), Kind: eventkind.Kind(query.Get("kind")),
		Before: query.Get("before")}
	if filter.From, err = timeParameter(query, "from"); err != nil {
		return nil, err
	}
	if filter.To, err = timeParameter(query, "to"); err != nil {
		return nil, err
	}
	events, err := s.Events(r.Context(), filter, limit+1)
	if err != nil {
		return nil, err
	}
	if len(events) > limit {
		events = events[:limit]
		query.Set("limit", strconv.Itoa(limit))
		query.Set("before", events[limit-1].ID)
		w.Header().Set("Link", "<"+pagePath(r)+"?"+query.Encode()+`>; rel="next"`)
	}
	response := make([]eventResponse, len(events)) // encodes as [], not null, if empty
	for i, event := range events {
		response[i] = newEventResponse(event)
	}
	return response, nil
}

func newEventResponse(e Event) eventResponse {
	response := eventResponse{
		ID: e.ID, Kind: e.Kind, At: wire.Time(e.At),
		UserID: e.UserID, ActorID: e.ActorID, Host: e.Host, SessionID: e.SessionID, AccessKey: e.AccessKey,
		Method: e.Method, Reason: e.Reason,
		IP: e.Client.address(), UserAgent: e.Client.UserAgent, RequestID: e.Client.RequestID,
	}
	if e.GitHub != (GitHubAccount{}) {
		response.GitHub = &eventGitHubResponse{e.GitHub.Host, e.GitHub.ID}
	}
	return response
}

// errBadQuery means that a part of a query cannot be read.
var errBadQuery = &wire.RequestError{Status: http.StatusBadRequest,
	Detail: "The query of the URL is not valid"}

// listQuery returns the query of a list. Without a filter that the client has sent, the list would have the
// records of other users. So listQuery returns errBadQuery if a part of the query cannot be read, and an
// *InvalidError if the named filter is empty.
func listQuery(r *http.Request, filter string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errBadQuery
	}
	if query.Has(filter) && query.Get(filter) == "" {
		return nil, invalidf(filter, "must not be empty")
	}
	return query, nil
}

// pageSize returns the limit parameter of the query, or defaultLimit if the query has none. It
// returns an *InvalidError if the parameter is not from 1 to maxLimit.
func pageSize(query url.Values, defaultLimit, maxLimit int) (int, error) {
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, invalidf("limit", "must be from 1 to %d", maxLimit)
	}
	return limit, nil
}

// timeParameter returns the time in the parameter of the query, or the zero time if the query does not have
// the parameter.
func timeParameter(query url.Values, name string) (time.Time, error) {
	if !query.Has(name) {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, query.Get(name))
	if err != nil {
		return at, invalidf(name, "must be a time such as 2026-01-02T03:04:05Z")
	}
	return at, checkTime(name, at)
}

// pagePath returns the path of the request as the client sent it. The path in r.URL may be shorter,
// because a host's router can remove a prefix.
func pagePath(r *http.Request) string {
	if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return sent.EscapedPath()
	}
	return r.URL.EscapedPath()
}
