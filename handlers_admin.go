package auth

import (
	"net/http"

	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/wire"
)

// registerUserHandler handles POST /api/v1/user/register: a super user calls it to create a user.
// The e-mail address is optional. The fields is_service and audiences make a service user, also at this
// published path, because a client that asks for a service user must not get a person. If the username is
// reserved, such as admin or root, the handler answers 422. Only the host's own code can use a reserved
// username, with [Service.Register]. The handler returns the only copy of the user's access secret.
func (s *Service) registerUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: superUsers, scope: ScopeUsers, recent: true,
		serve: s.serveRegister})
}

type registerResponse struct {
	UserID       string  `json:"user_id"`
	Username     string  `json:"username"`
	Email        *string `json:"email"`
	Role         string  `json:"role"`
	Status       string  `json:"status"`
	AccessKey    string  `json:"access_key"`
	AccessSecret string  `json:"access_secret"`
	CreatedOn    string  `json:"created_on"`
	Message      string  `json:"message"`

	// These fields are absent for a person, because the answer for a person is published.
	IsService bool     `json:"is_service,omitzero"`
	Audiences []string `json:"audiences,omitzero"`
}

var errReservedUsername = invalidf("username", "must not be a reserved name such as admin")

func (s *Service) serveRegister(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadBody(w, r, "username", "email", "is_super_user", "is_service", "audiences",
		"must_rotate")
	params := UserParams{
		Username:    body.Text("username"),
		Email:       body.NonEmptyText("email"),
		IsSuperUser: body.Flag("is_super_user"),
		IsService:   body.Flag("is_service"),
		Key:         callerKeyOptions(r, body),
	}
	audiences, hasAudiences := body.Texts("audiences")
	params.Audiences = audiences
	switch {
	case body.Err() != nil:
		return nil, readError(body.Err())
	case hasAudiences && !params.IsService:
		return nil, invalidf("audiences", "can be given only to a service user")
	case githubapi.IsReservedUsername(params.Username):
		return nil, errReservedUsername
	}
	made, err := s.Register(r.Context(), s.administrator(r, givesPower), params)
	if err != nil {
		return nil, err
	}
	return newRegisterResponse(made,
		"User registered. Store the access secret now: it is not shown again."), nil
}

func newRegisterResponse(made Registration, message string) registerResponse {
	response := registerResponse{
		UserID:       made.User.ID,
		Username:     made.User.Username,
		Email:        optionalText(made.User.Email),
		Role:         "User",
		Status:       "Active",
		AccessKey:    made.Pair.AccessKey,
		AccessSecret: made.Pair.AccessSecret.Reveal(),
		CreatedOn:    wire.Time(made.User.CreatedAt),
		Message:      message,
		IsService:    made.User.IsService,
		Audiences:    made.User.audiences(),
	}
	if made.User.IsSuperUser {
		response.Role = "Super User"
	}
	if !made.User.IsActive {
		response.Status = "Inactive"
	}
	return response
}

// callerKeyOptions returns the options of a key that the caller makes for another user. A limited session
// makes only keys with its own limit. The body says whether the user must rotate the key.
func callerKeyOptions(r *http.Request, body *wire.Fields) KeyOptions {
	caller, _ := IdentityFromContext(r.Context())
	return KeyOptions{Scopes: caller.Scopes(), MustRotate: body.Flag("must_rotate")}
}

// These constants are the second argument of administrator. Use givesPower for a call that gives a
// user more rights or a new secret. Such a call needs a session that is not older than
// Config.ReauthAfter. Use takesPower for a call that only takes rights or sessions away.
const (
	takesPower = false
	givesPower = true
)

// administrator returns the authority of the super user who makes the request. If the second
// argument is givesPower, the authority requires a session that is not older than
// Config.ReauthAfter.
func (s *Service) administrator(r *http.Request, gives bool) Authority {
	caller, _ := IdentityFromContext(r.Context())
	by := caller.Authority()
	by.SuperUser = true
	if gives {
		by.MaxAge = s.reauthAfter
	}
	return by
}

// getUserHandler handles GET /auth/users/{id}: it returns the user's record to a super user.
func (s *Service) getUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: superUsers, scope: ScopeUsers,
		serve: s.serveUser})
}

func (s *Service) serveUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	user, err := s.users.FindUser(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return newUserResponse(user), nil
}

// updateUserHandler handles PATCH /auth/users/{id}: it disables, enables, promotes, demotes or renames a
// user. To enable, promote or rename a user, or to give the user an e-mail address, the caller needs a
// session that is not older than Config.ReauthAfter. For all other changes, a session of any age is enough.
// If a new username is reserved, the handler answers 422, as POST /auth/users/register does.
func (s *Service) updateUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPatch, access: superUsers, scope: ScopeUsers,
		serve: s.serveUpdateUser})
}

func (s *Service) serveUpdateUser(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadStrictBody(w, r, "is_super_user", "is_active", "username", "email")
	change := UserChange{
		IsSuperUser: body.OptionalFlag("is_super_user"),
		IsActive:    body.OptionalFlag("is_active"),
		Username:    body.GivenText("username"),
		Email:       body.NullableText("email"),
	}
	switch {
	case body.Err() != nil:
		return nil, readError(body.Err())
	case change == UserChange{}:
		return nil, invalidf("is_super_user", "or is_active, username or email must be given")
	case change.Username != nil && githubapi.IsReservedUsername(*change.Username):
		return nil, errReservedUsername
	}
	gives := change.GivesPower() || change.Username != nil // other people know the user by the username
	by := s.administrator(r, gives)
	if gives {
		if err := s.requireRecent(r.Context()); err != nil {
			return nil, err
		}
	}
	user, err := s.UpdateUser(r.Context(), by, r.PathValue("id"), change)
	if err != nil {
		return nil, err
	}
	return newUserResponse(user), nil
}

// regenerateCredentialsHandler handles POST /auth/users/{id}/regenerate-credentials: it removes
// everything with which the user can sign in, and returns a new access key with its secret.
func (s *Service) regenerateCredentialsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: superUsers, scope: ScopeUsers, recent: true,
		serve: s.serveRegenerate})
}

type regenerateResponse struct {
	Message      string `json:"message"`
	AccessKey    string `json:"access_key"`
	AccessSecret string `json:"access_secret"`
}

func (s *Service) serveRegenerate(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadStrictBody(w, r, "must_rotate")
	options := callerKeyOptions(r, body)
	if body.Err() != nil {
		return nil, readError(body.Err())
	}
	pair, err := s.RegenerateCredentials(r.Context(), s.administrator(r, givesPower), r.PathValue("id"),
		options)
	if err != nil {
		return nil, err
	}
	return regenerateResponse{
		Message:      "Credentials regenerated. Store the access secret now: it is not shown again.",
		AccessKey:    pair.AccessKey,
		AccessSecret: pair.AccessSecret.Reveal(),
	}, nil
}

// reinstateUserHandler handles POST /auth/users/{id}/reinstate: it enables the user, removes
// all other ways in which the user can sign in, and returns a new access key with its secret.
func (s *Service) reinstateUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: superUsers, scope: ScopeUsers, recent: true,
		serve: s.serveReinstate})
}

func (s *Service) serveReinstate(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadStrictBody(w, r, "must_rotate")
	options := callerKeyOptions(r, body)
	if body.Err() != nil {
		return nil, readError(body.Err())
	}
	made, err := s.ReinstateUser(r.Context(), s.administrator(r, givesPower), r.PathValue("id"), options)
	if err != nil {
		return nil, err
	}
	return newRegisterResponse(made,
		"User reinstated. Store the access secret now: it is not shown again."), nil
}

// revokeUserSessionsHandler handles POST /auth/tokens/revoke-user/{id}: it revokes all sessions of
// the user.
func (s *Service) revokeUserSessionsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: superUsers, scope: ScopeUsers,
		serve: s.serveRevokeUser})
}

type revokeUserResponse struct {
	Status       string `json:"status"`
	Message      string `json:"message"`
	RevokedCount int    `json:"revoked_count"`
}

func (s *Service) serveRevokeUser(w http.ResponseWriter, r *http.Request) (any, error) {
	if body := wire.ReadStrictBody(w, r); body.Err() != nil {
		return nil, readError(body.Err())
	}
	live, err := s.tokens.RevokeUser(r.Context(), s.administrator(r, takesPower), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return revokeUserResponse{"success", "All sessions of the user were revoked.", live}, nil
}

// deleteUserHandler handles DELETE /auth/users/{id}: it removes the user.
func (s *Service) deleteUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodDelete, access: superUsers, scope: ScopeUsers,
		serve: s.serveDeleteUser})
}

type deleteUserResponse struct {
	Status        string `json:"status"`
	Message       string `json:"message"`
	DeletedUserID string `json:"deleted_user_id"`
}

func (s *Service) serveDeleteUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if err := s.DeleteUser(r.Context(), s.administrator(r, takesPower), id); err != nil {
		return nil, err
	}
	return deleteUserResponse{"success", "User deleted.", id}, nil
}
