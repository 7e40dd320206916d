package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// Identify returns who makes the request: the bearer of the token in its
// Authorization header or, where [Config.BrowserSessions] is set and there is no
// such header, whose session the cookie is of. It changes nothing.
//
// It returns ErrTokenMissing if there is no token, ErrTokenRejected if it is not
// good now, ErrCrossOrigin if the cookie comes with a change from a page of
// somebody else's, and any other error if that cannot be found out. [WriteError]
// answers with each; where there is no http.ResponseWriter, [ErrorStatus] says
// how to.
func (s *Service) Identify(r *http.Request) (Identity, error) {
	identity, err := s.identify(r)
	if err != nil {
		return Identity{}, err
	}
	return *identity, nil
}

// IdentifyContext is [Service.Identify] for routers and protocols that are not those of
// net/http: it returns the context of the request with the caller in it, as
// [Service.Authenticate] passes it on, for [IdentityFromContext], [Service.User] and
// [Service.SuperUser]. Its errors are those of Identify.
func (s *Service) IdentifyContext(r *http.Request) (context.Context, error) {
	identity, err := s.identify(r)
	if err != nil {
		return nil, err
	}
	return &callerContext{request: r, service: s, identity: identity}, nil
}

// identify is Identify, whose result is shared with others.
func (s *Service) identify(r *http.Request) (*Identity, error) {
	identity, err := s.identifyQuietly(r)
	if err != nil && errors.Is(err, ErrTokenRejected) {
		e := Event{Kind: EventTokenRejected, Reason: reasonOf(err)}
		e.about(err)
		s.events.emit(WithClientInfo(r.Context(), s.clientInfo(r)), e)
	}
	return identity, err
}

// identifyQuietly is identify without a note of what is refused.
func (s *Service) identifyQuietly(r *http.Request) (*Identity, error) {
	ctx := r.Context()
	if s.tokens.feed == nil { // which waits for as long as it likes itself
		bounded, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		ctx = bounded
	}
	if s.browser != nil && len(r.Header["Authorization"]) == 0 {
		return s.identifyBrowser(ctx, r)
	}
	token, err := bearerToken(r.Header)
	if err != nil {
		return nil, err
	}
	return s.tokens.verify(ctx, token)
}

func (s *Service) identifyBrowser(ctx context.Context, r *http.Request) (*Identity, error) {
	now := s.now()
	claims, err := s.browser.claims(r, now)
	if err != nil {
		return nil, err
	}
	if err := s.browser.checkOrigin(r); err != nil {
		return nil, err
	}
	if err := s.tokens.requireLive(ctx, &claims, new(atomic.Uint64), now); err != nil {
		return nil, refusedTo(claims.identity.UserID, claims.identity.SessionID, err)
	}
	return &claims.identity, nil
}

// bearerToken returns the one token of the one Authorization header (RFC 6750,
// section 2.1). A token anywhere else, in the query or a form, is not looked
// for: there it would end up in logs.
func bearerToken(header http.Header) (string, error) {
	lines := header["Authorization"]
	if len(lines) == 0 {
		return "", ErrTokenMissing
	}
	if len(lines) > 1 { // Get would take the first, a proxy before us perhaps the last
		return "", fmt.Errorf("%w: more than one Authorization header", ErrTokenRejected)
	}
	token, usual := strings.CutPrefix(lines[0], "Bearer ") // as nearly everybody writes it
	if !usual {
		var scheme string
		if scheme, token, _ = strings.Cut(lines[0], " "); !strings.EqualFold(scheme, "Bearer") {
			return "", ErrTokenMissing
		}
	}
	return strings.TrimLeft(token, " "), nil
}

// Authenticate lets requests through that [Service.Identify] knows, with the
// caller in their context for [IdentityFromContext], and answers the others.
func (s *Service) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := s.IdentifyContext(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// RequireSuperUser lets requests through whose caller the store, or [Config.Users],
// has as an active super user at this moment, whatever the token says, with the caller's record
// in their context for [Service.User]. It belongs inside Authenticate of the same
// service, and lets nothing through without.
func (s *Service) RequireSuperUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := s.superUser(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		identity, _ := IdentityFromContext(r.Context())
		ctx := &userContext{callerContext{request: r, service: s, identity: &identity}, user}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// superUser is SuperUser within the time a request may wait.
func (s *Service) superUser(r *http.Request) (User, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	return s.SuperUser(ctx)
}
