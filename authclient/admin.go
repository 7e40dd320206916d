package authclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
)

// The methods in this file are for super users.

// UserParams describes a user to be registered.
type UserParams struct {
	Username    string
	Email       string // empty means none
	IsSuperUser bool
}

// Registration is a user with a new access key and the only copy of its secret.
type Registration struct {
	User auth.User
	Pair auth.KeyPair
}

// registrationAnswer is the answer of the calls that return a user with a secret.
type registrationAnswer struct {
	UserID       string `json:"user_id"`
	Username     string `json:"username"`
	Email        string `json:"email"`
	Role         string `json:"role"`
	Status       string `json:"status"`
	AccessKey    string `json:"access_key"`
	AccessSecret string `json:"access_secret"`
}

func (a registrationAnswer) registration() Registration {
	return Registration{
		User: auth.User{ID: a.UserID, Username: a.Username, Email: a.Email,
			IsSuperUser: a.Role == "Super User", IsActive: a.Status == "Active"},
		Pair: auth.KeyPair{AccessKey: a.AccessKey, AccessSecret: auth.NewSecret(a.AccessSecret)},
	}
}

// RegisterUser adds a user with an access key (POST /auth/users/register). The User of the result has no
// times.
func (c *Client) RegisterUser(ctx context.Context, params UserParams) (Registration, error) {
	body := map[string]any{"username": params.Username, "is_super_user": params.IsSuperUser}
	if params.Email != "" {
		body["email"] = params.Email
	}
	var answer registrationAnswer
	_, err := c.call(ctx, http.MethodPost, "/auth/users/register", body, &answer)
	return answer.registration(), err
}

// User returns the user with this ID (GET /auth/users/{id}).
func (c *Client) User(ctx context.Context, id string) (auth.User, error) {
	var answer userAnswer
	err := c.callByID(ctx, http.MethodGet, usersPath, id, "", nil, &answer)
	return answer.user(), err
}

const usersPath = "/auth/users/"

// UserFilter selects users. The zero value selects all users: people and service users.
type UserFilter struct {
	// Search selects the users whose username or e-mail begins with this text, without regard to ASCII case.
	// It has at most 254 bytes and no control characters. Empty means all users.
	Search string

	Kind  auth.UserKind  // the zero value means all users
	State auth.UserState // the zero value means all users
}

// Users returns the users whom the filter selects, page by page (GET /auth/users). They are sorted by ID. In
// a search, the users whose username matches come first, sorted by username, and then the other users, sorted
// by e-mail. An error ends the iteration. If the filter is not valid, it is an [Error] with the status 422.
func (c *Client) Users(ctx context.Context, filter UserFilter) iter.Seq2[auth.User, error] {
	query := url.Values{"kind": {string(cmp.Or(filter.Kind, "all"))}}
	setGiven(query, "search", filter.Search)
	setGiven(query, "state", string(filter.State))
	return func(yield func(auth.User, error) bool) {
		for answer, err := range pages[userAnswer](ctx, c, "/auth/users", query) {
			if !yield(answer.user(), err) {
				return
			}
		}
	}
}

// userAnswer is a user in an answer. Unlike in [auth.User], the audiences of a service user are a list.
type userAnswer struct {
	auth.User
	Audiences []string `json:"audiences"`
}

func (a userAnswer) user() auth.User {
	a.User.Audiences = strings.Join(a.Audiences, " ")
	return a.User
}

// UserKeys returns the access keys of the user with this ID (GET /auth/users/{id}/keys).
func (c *Client) UserKeys(ctx context.Context, id string) ([]Key, error) {
	var keys []Key
	err := c.callByID(ctx, http.MethodGet, usersPath, id, "/keys", nil, &keys)
	return keys, err
}

// UserSessions returns the newest 100 sessions of the user with this ID (GET /auth/users/{id}/sessions).
func (c *Client) UserSessions(ctx context.Context, id string) ([]Session, error) {
	var sessions []Session
	err := c.callByID(ctx, http.MethodGet, usersPath, id, "/sessions", nil, &sessions)
	return sessions, err
}

// EventFilter selects events of the audit trail. The zero value selects all of them.
type EventFilter struct {
	UserID string         // selects events about this user; empty means any user
	Kind   eventkind.Kind // selects events of this kind; empty means any kind

	// From and To select events by their time: those at From or later, and before To. Zero means no bound.
	From time.Time
	To   time.Time
}

// Events returns the events that the filter selects, page by page, the newest first (GET /auth/events). An
// error ends the iteration.
func (c *Client) Events(ctx context.Context, filter EventFilter) iter.Seq2[auth.Event, error] {
	query := url.Values{}
	setGiven(query, "user_id", filter.UserID)
	setGiven(query, "kind", string(filter.Kind))
	for name, at := range map[string]time.Time{"from": filter.From, "to": filter.To} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return pages[auth.Event](ctx, c, "/auth/events", query)
}

// setGiven sets a parameter of the query unless the value is empty.
func setGiven(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// pages returns the records of a list, and follows the links to its further pages.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	first := path
	if len(query) > 0 {
		first += "?" + query.Encode()
	}
	return func(yield func(T, error) bool) {
		for next := first; next != ""; {
			var page []T
			header, err := c.call(ctx, http.MethodGet, next, nil, &page)
			if err == nil {
				present := next
				if next, err = nextPage(header, path); err == nil && next == present {
					err = fmt.Errorf("authclient: GET %s: the link to the next page is to this page", path)
				}
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, record := range page {
				if !yield(record, nil) {
					return
				}
			}
		}
	}
}

// nextPage returns the path and query of the next page, or "" if there is none. Only the query comes from the
// link (RFC 8288), so that the answer cannot send the token to another path.
func nextPage(header http.Header, path string) (string, error) {
	target := linkTo("next", header)
	if target == "" {
		return "", nil
	}
	u, err := url.Parse(target)
	if err != nil || u.RawQuery == "" {
		return "", fmt.Errorf("authclient: GET %s: the link to the next page is not valid", path)
	}
	return path + "?" + u.RawQuery, nil
}

// linkTo returns the target of the first link with this relation type, or "". A proxy can join several links
// in one line.
func linkTo(relation string, header http.Header) string {
	for rest := strings.Join(header.Values("Link"), ","); ; {
		_, after, ok := strings.Cut(rest, "<")
		target, after, closed := strings.Cut(after, ">")
		if !ok || !closed {
			return ""
		}
		parameters, _, _ := strings.Cut(after, "<") // the next link begins there
		for parameter := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(parameter, "=")
			value = strings.Trim(value, " \t,")
			if strings.EqualFold(strings.TrimSpace(name), "rel") &&
				slices.Contains(strings.Fields(strings.Trim(value, `"`)), relation) {
				return target
			}
		}
		rest = after
	}
}

// UserChange is a change of a user. A nil field leaves the value unchanged.
type UserChange struct {
	IsSuperUser *bool `json:"is_super_user,omitempty"`
	IsActive    *bool `json:"is_active,omitempty"`
}

// UpdateUser promotes, demotes, enables or disables a user (PATCH /auth/users/{id}).
func (c *Client) UpdateUser(ctx context.Context, id string, change UserChange) (auth.User, error) {
	var answer userAnswer
	err := c.callByID(ctx, http.MethodPatch, usersPath, id, "", change, &answer)
	return answer.user(), err
}

// RegenerateCredentials removes every credential of the user, and returns a new access key (POST
// /auth/users/{id}/regenerate-credentials).
func (c *Client) RegenerateCredentials(ctx context.Context, id string) (auth.KeyPair, error) {
	var answer registrationAnswer
	err := c.callByID(ctx, http.MethodPost, usersPath, id, "/regenerate-credentials", nil, &answer)
	return answer.registration().Pair, err
}

// ReinstateUser enables a user again, with a new access key (POST /auth/users/{id}/reinstate).
func (c *Client) ReinstateUser(ctx context.Context, id string) (Registration, error) {
	var answer registrationAnswer
	err := c.callByID(ctx, http.MethodPost, usersPath, id, "/reinstate", nil, &answer)
	return answer.registration(), err
}

// RevokeUser revokes the sessions of a user (POST /auth/tokens/revoke-user/{id}). It returns how many of them
// were live.
func (c *Client) RevokeUser(ctx context.Context, id string) (int, error) {
	var answer struct {
		RevokedCount int `json:"revoked_count"`
	}
	err := c.callByID(ctx, http.MethodPost, "/auth/tokens/revoke-user/", id, "", nil, &answer)
	return answer.RevokedCount, err
}

// DeleteUser deletes a user (DELETE /auth/users/{id}).
func (c *Client) DeleteUser(ctx context.Context, id string) error {
	return c.callByID(ctx, http.MethodDelete, usersPath, id, "", nil, nil)
}

// isStatus reports whether the error is an answer with this status.
func isStatus(err error, status int) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.StatusCode == status
}
