package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/token"
)

// identifyBrowser returns the user of the session cookie.
func (s *Service) identifyBrowser(ctx context.Context, r *http.Request) (*Identity, error) {
	now := s.now()
	v, err := s.verifyCookie(r, now)
	if err != nil {
		return nil, err
	}
	if err := s.tokens.requireLive(ctx, &v.Claims, &v.Checked, now); err != nil {
		return nil, rejectionOf(v.Identity.UserID, v.Identity.SessionID, err)
	}
	if !s.browser.IsOwn(r) {
		return nil, &rejection{ErrCrossOrigin, v.Identity.UserID, v.Identity.SessionID}
	}
	return (*Identity)(&v.Identity), nil
}

// verifyCookie returns the verified token of the session cookie. It does not check whether the
// session has been revoked.
//
// The lifetime of a renewed cookie begins with the renewal, so verifyCookie compares the rest of it with
// TokenConfig.MaxLifetime. The entry that revokes all sessions of a user stays in the feed for that long.
func (s *Service) verifyCookie(r *http.Request, now time.Time) (*token.Verified, error) {
	v, err := s.browser.Verify(r, s.tokens.ring.Load(), now)
	if errors.Is(err, browser.ErrNoCookie) {
		return nil, ErrTokenMissing
	}
	latest := now.Add(s.tokens.cfg.MaxLifetime + token.MaxClockSkew*time.Second)
	if err == nil && v.Identity.ExpiresAt.After(latest) {
		return nil, token.ErrLifetime
	}
	return v, err
}

// sessionCookie returns a cookie for the session, which ends after the given lifetime. It returns
// ErrServiceUser for a service user.
func (s *Service) sessionCookie(
	ctx context.Context, issued Token, lifetime time.Duration,
) (*http.Cookie, error) {
	if issued.User.IsService {
		return nil, ErrServiceUser
	}
	text, err := s.tokens.signAs(ctx, token.TypeCookie, issued.Session, issued.User)
	if err != nil {
		return nil, err
	}
	if len(text) > browser.MaxToken {
		return nil, fmt.Errorf("auth: a token of %d bytes does not fit into a cookie: shorten the "+
			"issuer or the claims of TokenConfig.Claims", len(text))
	}
	return s.browser.Cookie(text, lifetime), nil
}

// replaceTimeout limits how long a request waits for the store to revoke a replaced session, or to extend
// the session of the caller.
const replaceTimeout = 2 * time.Second

// renewing returns a writer that adds a new cookie for the session of the request's session cookie to the
// response, or nil. It returns a writer only if the present cookie is in the last quarter of its life: see
// [BrowserSessions]. The caller argument is the verified caller of the request.
//
// The renewed cookie belongs to the same session. [SessionStore.ExtendSession] moves the end of the session
// instead of opening another session, because all that revokes the session must revoke the renewed cookie
// too. A revocation names the session, its user or its Generation, and none of them changes. A sign-out
// with the earlier cookie, in another tab or on another instance, therefore needs no search for successors.
//
// If the store, GitHub or the host's callback fails, the request is served with the present cookie.
func (s *Service) renewing(w http.ResponseWriter, r *http.Request, caller *Identity) *renewingWriter {
	until, due := s.renewals.until(caller, s.now())
	if !due || len(r.Header["Upgrade"]) > 0 {
		return nil
	}
	if _, err := BearerToken(r); !errors.Is(err, ErrTokenMissing) {
		return nil // the caller is not the user of the cookie
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(s.timeout, replaceTimeout))
	defer cancel()
	var session Session
	var cookie *http.Cookie
	err := s.renewals.recent.Ask(ctx, caller.SessionID, "", func() (err error) {
		session, cookie, err = s.extendSession(ctx, caller, until)
		return err
	}, func(error) bool { return true })
	if cookie == nil {
		if err != nil {
			s.log.DebugContext(ctx, "auth: a session cookie was not renewed", "error", err)
		}
		return nil
	}
	return &renewingWriter{w, cookie, func() bool { return s.isLive(r.Context(), session) }}
}

// isLive reports whether the session is known to be live.
func (s *Service) isLive(ctx context.Context, session Session) bool {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, replaceTimeout))
	defer cancel()
	claims := token.Claims{Generation: session.Generation,
		Identity: token.Identity{UserID: session.UserID, SessionID: session.ID}}
	return s.tokens.requireLive(ctx, &claims, new(atomic.Uint64), s.now()) == nil
}

// extendSession extends the session of the caller, and returns it with a cookie for the rest of it. The
// cookie is nil if the session already ends as late as it can, because its access key expires.
func (s *Service) extendSession(
	ctx context.Context, caller *Identity, until time.Time,
) (session Session, cookie *http.Cookie, err error) {
	if s.github != nil {
		user, err := s.directory.FindUser(ctx, caller.UserID)
		if err == nil {
			err = s.github.StillAdmitted(ctx, user)
		}
		if err != nil {
			return session, nil, err
		}
	}
	c := s.tokens.newChange(ctx, caller.Authority(), Event{})
	c.write.By.Scope = "" // every limited session may be extended
	session, user, err := s.tokens.sessions.ExtendSession(ctx, c.write, until)
	if err != nil {
		return session, nil, fmt.Errorf("auth: extending a session: %w", err)
	}
	if s.tokens.users != nil { // after the session was extended, as issueFor does
		if user, err = s.tokens.users.activeUser(ctx, caller.UserID); err != nil {
			return session, nil, err
		}
	}
	session.ExpiresAt = session.ExpiresAt.Truncate(time.Second)
	if !session.ExpiresAt.After(caller.ExpiresAt) {
		return session, nil, nil
	}
	cookie, err = s.sessionCookie(ctx, Token{Session: session, User: user}, session.ExpiresAt.Sub(s.now()))
	return session, cookie, err
}

// lastCookieExpiry returns the time until which a revocation of the session must stay in the feed if the
// store has no record of the session. Another cookie of the session may end later than this one. As this
// cookie is still valid, the other one was made before the end of this one.
func (s *Service) lastCookieExpiry(c *token.Claims) time.Time {
	if s.renewals == nil {
		return c.Identity.ExpiresAt
	}
	last := c.Identity.IssuedAt.Add(s.renewals.maxSession)
	if made := c.Identity.ExpiresAt.Add(s.tokens.cfg.MaxLifetime); made.Before(last) {
		last = made
	}
	return laterTime(last, c.Identity.ExpiresAt)
}

// renewingWriter adds a cookie to the response when the header is written. It omits the cookie if a shared
// cache may store the response, because the cache would then give the session to other people.
//
// It also omits the cookie of a session that was revoked while the request was served. If the person has
// signed in again meanwhile, this response can arrive after the response with the new cookie, and would
// replace the new cookie. The person would be signed out, and could not sign out of the new session.
type renewingWriter struct {
	http.ResponseWriter
	cookie *http.Cookie // nil once the header was written
	isLive func() bool
}

func (w *renewingWriter) addCookie() {
	if w.cookie != nil && isPrivate(w.Header()) && w.isLive() {
		http.SetCookie(w.ResponseWriter, w.cookie)
	}
	w.cookie = nil
}

// isPrivate reports whether the header keeps shared caches from storing the response (RFC 9111, section
// 5.2.2).
func isPrivate(header http.Header) bool {
	for _, line := range header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(directive)) {
			case "private", "no-store":
				return true
			}
		}
	}
	return false
}

// WriteHeader implements [http.ResponseWriter].
func (w *renewingWriter) WriteHeader(status int) {
	if status >= 200 { // an informational response has no cookies
		w.addCookie()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *renewingWriter) Write(body []byte) (int, error) {
	w.addCookie()
	return w.ResponseWriter.Write(body)
}

// Flush implements [http.Flusher].
func (w *renewingWriter) Flush() {
	w.addCookie()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // fails only if the server cannot flush
}

// Unwrap is for [http.ResponseController].
func (w *renewingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serveBrowser calls the handler for a request that the session cookie may have identified.
func (s *Service) serveBrowser(c *callerContext, w http.ResponseWriter, r *http.Request, next http.Handler) {
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Add("Vary", "Cookie")
	if renewing := s.renewing(w, r, c.identity); renewing != nil {
		defer renewing.addCookie()
		w = renewing
	}
	next.ServeHTTP(w, r.WithContext(c))
}

func laterTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
