package auth

import (
	"net/http"
	"net/url"
	"strconv"
)

// How many events one page lists.
const (
	eventsPerPage    = 50
	maxEventsPerPage = 100
)

// ListEventsHandler handles GET /auth/events?limit=50&before=<id>: a page of the audit trail for
// super users, the newest event first, with a Link to the next page of older events if there is one.
// The query may name a user_id and a kind. Without an audit trail it answers 404.
func (s *Service) ListEventsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, serve: s.serveEvents})
}

type eventResponse struct {
	ID        string               `json:"id"`
	Kind      EventKind            `json:"kind"`
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
	query := r.URL.Query()
	limit, err := pageSize(query, eventsPerPage, maxEventsPerPage)
	if err != nil {
		return nil, err
	}
	filter := EventFilter{UserID: query.Get("user_id"), Kind: EventKind(query.Get("kind")), Before: query.Get("before")}
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
	response := make([]eventResponse, len(events)) // [], not null
	for i, event := range events {
		response[i] = newEventResponse(event)
	}
	return response, nil
}

func newEventResponse(e Event) eventResponse {
	response := eventResponse{
		ID: e.ID, Kind: e.Kind, At: wireTime(e.At),
		UserID: e.UserID, ActorID: e.ActorID, Host: e.Host, SessionID: e.SessionID, AccessKey: e.AccessKey,
		Method: e.Method, Reason: e.Reason,
		IP: e.Client.address(), UserAgent: e.Client.UserAgent, RequestID: e.Client.RequestID,
	}
	if e.GitHub != (GitHubAccount{}) {
		response.GitHub = &eventGitHubResponse{e.GitHub.Host, e.GitHub.ID}
	}
	return response
}

// pageSize returns the limit of the query, or the default, or an *InvalidError if it is out of
// range.
func pageSize(query url.Values, usual, longest int) (int, error) {
	if !query.Has("limit") {
		return usual, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > longest {
		return 0, invalidf("limit", "must be from 1 to %d", longest)
	}
	return limit, nil
}

// pagePath returns the path of a page as the client has sent it, which a host's router may have
// cut.
func pagePath(r *http.Request) string {
	if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return sent.EscapedPath()
	}
	return r.URL.EscapedPath()
}
