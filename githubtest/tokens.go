package githubtest

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	codeLifetime = 10 * time.Minute

	// refreshLifetime is about six months.
	refreshLifetime = 184 * 24 * time.Hour

	// maxTokens is the maximum number of tokens for one user and one set of scopes. When the fake
	// issues one more, it revokes the oldest.
	maxTokens = 10
)

// Token is an access token that the fake issued, together with its refresh token.
type Token struct {
	Access    string
	Refresh   string // empty if the token does not expire
	UserID    int64
	Scopes    []string
	CreatedAt time.Time
	ExpiresAt time.Time // zero if the token does not expire

	id               int64
	refreshExpiresAt time.Time
}

// Tokens returns a user's valid tokens, the oldest first. An expired token is included as long as
// its refresh token is valid.
func (s *Server) Tokens(userID int64) []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tokens []Token
	for _, token := range s.grants.tokensOf(userID) {
		if s.alive(token) || s.refreshable(token) {
			copied := *token
			copied.Scopes = slices.Clone(token.Scopes)
			tokens = append(tokens, copied)
		}
	}
	return tokens
}

// Revoke revokes all tokens of a user, as if the user had withdrawn consent in the settings of
// GitHub.
func (s *Server) Revoke(userID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants.forget(userID)
}

// grants holds the codes, tokens and consents. The server's lock guards all of them.
type grants struct {
	codes     map[string]*code
	byAccess  map[string]*Token
	byRefresh map[string]*Token
	scopes    map[int64][]string // by user: all scopes that the user ever agreed to
	lastID    int64
}

// code is an authorization code.
type code struct {
	userID      int64
	scopes      []string
	redirectURI string
	challenge   string // PKCE challenge; empty if the app does not use PKCE
	expiresAt   time.Time
}

func newGrants() grants {
	return grants{
		codes:     make(map[string]*code),
		byAccess:  make(map[string]*Token),
		byRefresh: make(map[string]*Token),
		scopes:    make(map[int64][]string),
	}
}

// forget removes all tokens, codes and consents of the user.
func (g *grants) forget(userID int64) {
	for _, token := range g.tokensOf(userID) {
		g.end(token)
	}
	maps.DeleteFunc(g.codes, func(_ string, c *code) bool { return c.userID == userID })
	delete(g.scopes, userID)
}

// end revokes a token and its refresh token.
func (g *grants) end(token *Token) {
	delete(g.byAccess, token.Access)
	delete(g.byRefresh, token.Refresh)
}

// tokensOf returns the user's tokens, the oldest first.
func (g *grants) tokensOf(userID int64) []*Token {
	var tokens []*Token
	for _, token := range g.byAccess {
		if token.UserID == userID {
			tokens = append(tokens, token)
		}
	}
	slices.SortFunc(tokens, func(a, b *Token) int { return cmp.Compare(a.id, b.id) })
	return tokens
}

// newCode stores the user's consent and returns a code for it. As at GitHub, a request without
// scopes gets the scopes to which the user agreed before. The caller holds the lock.
func (s *Server) newCode(c code) string {
	before := s.grants.scopes[c.userID]
	if len(c.scopes) == 0 && before != nil {
		c.scopes = before
	}
	s.grants.scopes[c.userID] = normalScopes(slices.Concat(c.scopes, before))
	now := s.now()
	maps.DeleteFunc(s.grants.codes, func(_ string, old *code) bool {
		return !now.Before(old.expiresAt)
	})
	c.expiresAt = now.Add(codeLifetime)
	value := randomHex(10)
	s.grants.codes[value] = &c
	return value
}

// newToken issues a token. If the user then has more than maxTokens tokens with these scopes,
// newToken revokes the oldest of them. The caller holds the lock.
func (s *Server) newToken(userID int64, scopes []string) *Token {
	g := &s.grants
	g.lastID++
	prefix := accessPrefix
	if s.isGitHubApp() {
		prefix = appAccessPrefix
	}
	token := &Token{
		Access:    newSecret(prefix, accessLength),
		UserID:    userID,
		Scopes:    scopes,
		CreatedAt: s.now(),
		id:        g.lastID,
	}
	if s.tokenLifetime > 0 {
		token.ExpiresAt = token.CreatedAt.Add(s.tokenLifetime)
		token.Refresh = newSecret(refreshPrefix, refreshLength)
		token.refreshExpiresAt = token.CreatedAt.Add(refreshLifetime)
		g.byRefresh[token.Refresh] = token
	}
	g.byAccess[token.Access] = token

	same := slices.DeleteFunc(g.tokensOf(userID), func(other *Token) bool {
		return !slices.Equal(other.Scopes, scopes)
	})
	if len(same) > maxTokens {
		g.end(same[0])
	}
	return token
}

// token finds a valid token by its value, and returns the token and the token's user. The caller
// holds the lock.
func (s *Server) token(access string) (*Token, User, bool) {
	token := s.grants.byAccess[access]
	if token == nil || !s.alive(token) {
		return nil, User{}, false
	}
	user, ok := s.userByID(token.UserID)
	return token, user, ok
}

func (s *Server) alive(token *Token) bool {
	return token.ExpiresAt.IsZero() || s.now().Before(token.ExpiresAt)
}

func (s *Server) refreshable(token *Token) bool {
	return token.Refresh != "" && s.now().Before(token.refreshExpiresAt)
}
