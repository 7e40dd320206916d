package githubtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"
)

// application returns the handler of a call in which the app checks, resets or revokes an access
// token. The app authenticates with its client ID and client secret, and sends the token in the body.
func (s *Server) application(handle func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.apiHeaders(w)
		id, secret, ok := r.BasicAuth()
		if !ok || id != s.clientID || subtle.ConstantTimeCompare([]byte(secret),
			[]byte(s.clientSecret)) != 1 {
			apiError(w, http.StatusUnauthorized, "Requires authentication")
			return
		}
		if r.PathValue("client_id") != s.clientID {
			apiError(w, http.StatusNotFound, "Not Found")
			return
		}
		var body object
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			apiError(w, http.StatusBadRequest, "Problems parsing JSON")
			return
		}
		access, _ := body["access_token"].(string)
		if access == "" {
			apiError(w, http.StatusUnprocessableEntity,
				"Invalid request: access_token wasn't supplied.")
			return
		}
		handle(w, r, access)
	}
}

// checkToken responds with the user and the scopes of a token.
func (s *Server) checkToken(w http.ResponseWriter, r *http.Request, access string) {
	s.mu.Lock()
	token, user, ok := s.token(access)
	var found Token
	if ok {
		found = *token
	}
	s.mu.Unlock()
	if !ok {
		apiError(w, http.StatusNotFound, "Not Found")
		return
	}
	writeJSON(w, http.StatusOK, s.authorizationOf(r, found, user))
}

// resetToken replaces a token with a new one that has the same scopes, and responds with the new
// token. The old token no longer works.
func (s *Server) resetToken(w http.ResponseWriter, r *http.Request, access string) {
	s.mu.Lock()
	token, user, ok := s.token(access)
	var fresh Token
	if ok {
		s.grants.end(token)
		fresh = *s.newToken(token.UserID, token.Scopes)
	}
	s.mu.Unlock()
	if !ok {
		apiError(w, http.StatusNotFound, "Not Found")
		return
	}
	writeJSON(w, http.StatusOK, s.authorizationOf(r, fresh, user))
}

// deleteToken revokes one token.
func (s *Server) deleteToken(w http.ResponseWriter, _ *http.Request, access string) {
	s.mu.Lock()
	token, _, ok := s.token(access)
	if ok {
		s.grants.end(token)
	}
	s.mu.Unlock()
	deleted(w, ok)
}

// deleteGrant revokes all tokens of the user to whom the token belongs, and forgets the user's
// consent.
func (s *Server) deleteGrant(w http.ResponseWriter, _ *http.Request, access string) {
	s.mu.Lock()
	token, _, ok := s.token(access)
	if ok {
		s.grants.forget(token.UserID)
	}
	s.mu.Unlock()
	deleted(w, ok)
}

func deleted(w http.ResponseWriter, ok bool) {
	if !ok {
		apiError(w, http.StatusNotFound, "Not Found")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) authorizationOf(r *http.Request, token Token, user User) object {
	hash := sha256.Sum256([]byte(token.Access))
	issued := token.CreatedAt.UTC().Format(time.RFC3339)
	var expires any
	if !token.ExpiresAt.IsZero() {
		expires = token.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return object{
		"id": token.id, "url": apiURL(r) + "/authorizations/" + r.PathValue("client_id"),
		"app":    object{"client_id": s.clientID, "name": s.clientID, "url": baseURL(r)},
		"scopes": token.Scopes, "token": token.Access, "token_last_eight": token.Access[len(token.Access)-8:],
		"hashed_token": hex.EncodeToString(hash[:]), "note": nil, "note_url": nil, "fingerprint": nil,
		"created_at": issued, "updated_at": issued, "expires_at": expires,
		"user": simpleUser(apiURL(r), baseURL(r), user),
	}
}
