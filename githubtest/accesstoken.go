package githubtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// accessToken exchanges a code or a refresh token for an access token. As at GitHub, most errors
// have status 200. An unknown client ID gets 404, and a body that cannot be parsed gets 400.
func (s *Server) accessToken(w http.ResponseWriter, r *http.Request) {
	form, err := tokenForm(r)
	if err != nil {
		s.tokenAnswer(w, r, http.StatusBadRequest, map[string]any{"error": "Bad Request"})
		return
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if id != s.clientID {
		s.tokenAnswer(w, r, http.StatusNotFound, map[string]any{"error": "Not Found"})
		return
	}

	s.mu.Lock()
	token, refusal := s.exchange(secret, form)
	s.mu.Unlock()
	if refusal != nil {
		s.tokenAnswer(w, r, http.StatusOK, map[string]any{
			"error": refusal.code, "error_description": refusal.description, "error_uri": refusal.uri,
		})
		return
	}
	answer := map[string]any{
		"access_token": token.Access,
		"token_type":   "bearer",
		"scope":        strings.Join(token.Scopes, ","),
	}
	if token.Refresh != "" {
		answer["expires_in"] = int(s.tokenLifetime / time.Second)
		answer["refresh_token"] = token.Refresh
		answer["refresh_token_expires_in"] = int(refreshLifetime / time.Second)
	}
	s.tokenAnswer(w, r, http.StatusOK, answer)
}

// tokenForm returns the parameters of the request, whose body is a form or a JSON object.
func tokenForm(r *http.Request) (url.Values, error) {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		err := r.ParseForm()
		return r.Form, err
	}
	var object map[string]string
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return nil, err
	}
	form := make(url.Values)
	for name, value := range object {
		form.Set(name, value)
	}
	return form, nil
}

// exchange checks the client secret, and issues a token for a code or a refresh token. The caller
// holds the lock.
func (s *Server) exchange(secret string, form url.Values) (*Token, *oauthError) {
	if subtle.ConstantTimeCompare([]byte(secret), []byte(s.clientSecret)) != 1 {
		return nil, errCredentials
	}
	switch form.Get("grant_type") {
	case "", "authorization_code":
		return s.exchangeCode(form)
	case "refresh_token":
		return s.refresh(form.Get("refresh_token"))
	}
	return nil, errGrantType
}

// exchangeCode exchanges a code for a token. A code can be used only one time, even if the exchange
// fails: a client that sends a wrong PKCE verifier may have stolen the code. The caller holds the
// lock.
func (s *Server) exchangeCode(form url.Values) (*Token, *oauthError) {
	value := form.Get("code")
	found := s.grants.codes[value]
	delete(s.grants.codes, value)
	switch {
	case found == nil, !s.now().Before(found.expiresAt):
		return nil, errBadCode
	case form.Has("redirect_uri") && form.Get("redirect_uri") != found.redirectURI:
		return nil, errTokenRedirect
	case found.challenge != "" && challengeOf(form.Get("code_verifier")) != found.challenge:
		return nil, errBadCode
	}
	return s.newToken(found.userID, found.scopes), nil
}

// challengeOf returns the S256 challenge of a PKCE verifier.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// refresh issues a new pair of tokens and revokes the old pair. The caller holds the lock.
func (s *Server) refresh(value string) (*Token, *oauthError) {
	old := s.grants.byRefresh[value]
	if old == nil || !s.refreshable(old) {
		return nil, errBadRefresh
	}
	s.grants.end(old)
	return s.newToken(old.UserID, old.Scopes), nil
}

// tokenAnswer responds with JSON if the client accepts JSON, and with a form otherwise.
func (s *Server) tokenAnswer(
	w http.ResponseWriter, r *http.Request, status int, answer map[string]any,
) {
	w.Header().Set("Cache-Control", "max-age=0, private, must-revalidate")
	w.Header().Set("X-GitHub-Request-Id", requestID())
	if strings.Contains(r.Header.Get("Accept"), "json") {
		writeJSON(w, status, answer)
		return
	}
	form := make(url.Values)
	for name, value := range answer {
		form.Set(name, fmt.Sprint(value))
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(form.Encode()))
}
