package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/wire"
)

// revocationsHandler handles GET /auth/revocations: it returns one page of the revocation feed, for a
// service that has no store. A [RemoteVerifier] makes this call. The caller must be a service user or a
// super user. A limited token needs [ScopeRevocations].
//
// The parameter from is the Position from which on the caller wants the entries, and nonce is a text of 16
// to 64 characters of base64url that the caller has not used before. The answer is a JWS that is signed
// with the key of the tokens. It contains the nonce, and names users and sessions only by hashes. If the
// feed has nothing after the Position from, the status is 304, and the JWS is in the header
// Sallyport-Revocations.
//
// The handler answers from the memory of this instance. It reads the store if the instance has not read
// the feed for half a second, and for entries that are no longer in memory. Each answer takes a signature.
// If the signing key is an HS256 key, the handler answers 503, because other services cannot verify the
// signature.
func (s *Service) revocationsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, scope: ScopeRevocations,
		serve: s.serveRevocations})
}

var (
	errNoVerifier = &wire.RequestError{Status: http.StatusForbidden,
		Detail: "Only a service user or a super user may read the revocations"}
	errPageUnsigned = &wire.RequestError{Status: http.StatusServiceUnavailable,
		Detail: "The revocations cannot be signed: the service signs with HS256, and needs an ES256 or EdDSA key"}
)

func (s *Service) serveRevocations(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := s.requireVerifier(r.Context()); err != nil {
		return nil, err
	}
	from, nonce, err := pageParams(r.URL.Query())
	if err != nil {
		return nil, err
	}
	signer := s.tokens.ring.Load().Signer()
	if !signer.IsAsymmetric() {
		s.logBadPage(r.Context(), "auth: the revocations cannot be signed for other services, because the "+
			"first of the SigningKeys is an HS256 key: use an ES256 or EdDSA key")
		return nil, errPageUnsigned
	}
	page, err := s.pages.Page(r.Context(), from, nonce)
	if err != nil {
		return nil, fmt.Errorf("auth: reading the revocation feed: %w", err)
	}
	if page.Head < from {
		s.logBadPage(r.Context(), "auth: another service has read revocations that the store does not have: "+
			"if the store was restored from a backup, call Service.RevokeEverybody")
	}
	text, err := page.Sign(r.Context(), signer)
	if err != nil {
		return nil, fmt.Errorf("auth: signing the revocations: %w", err)
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	// An old page comes from memory alone, so it does not end an outage of the store.
	result := written{unproven: page.SignedAt.Sub(page.AsOf) > time.Second}
	if page.IsUnchanged() {
		header.Set(feedpage.Header, text)
		w.WriteHeader(http.StatusNotModified)
		return result, nil
	}
	header.Set("Content-Type", feedpage.MediaType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write([]byte(text)) // an error means that the client has gone
	return result, nil
}

// logBadPage logs the message, but not for every request.
func (s *Service) logBadPage(ctx context.Context, message string) {
	if report, due := s.badPages.Fail("page", 1); due {
		s.log.LogAttrs(ctx, slog.LevelError, message, slog.Int64("requests", report.Failures),
			slog.Time("since", report.Since))
	}
}

// serviceLifetime is how long an instance remembers that a user is a service user.
const serviceLifetime = time.Minute

// requireVerifier returns an error unless the caller may read the revocations. It remembers for a minute
// that a user is a service user, so that verifiers that ask all the time do not cost a read of the store
// each. This never changes, and the sessions of a user who is disabled or deleted are revoked. But a host
// with a UserSource is asked each time, and so is the store about a super user.
//
// Many verifiers can have tokens of one user. Their requests do not queue for reads of the same record: one
// read serves all requests that are waiting when it begins.
func (s *Service) requireVerifier(ctx context.Context) error {
	caller, _ := IdentityFromContext(ctx)
	if clock.Age(s.now(), s.services.Get(caller.UserID)) < serviceLifetime {
		return nil
	}
	user, err := s.verifierReads.Do(ctx, caller.UserID, func() (User, error) {
		// Without cancellation, because the read also serves the requests of other verifiers.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		return s.User(ctx)
	})
	switch {
	case err != nil:
		return err
	case user.IsService && s.users != nil:
		s.services.Set(caller.UserID, s.now())
	case !user.IsService && !user.IsSuperUser:
		return errNoVerifier
	}
	return nil
}

// pageParams returns the parameters of a request for a page of the revocation feed.
func pageParams(query url.Values) (from int64, nonce string, err error) {
	position := query.Get("from")
	from, err = strconv.ParseInt(position, 10, 64)
	switch {
	case err != nil || from < 0 || len(query["from"]) != 1 || strconv.FormatInt(from, 10) != position:
		return 0, "", invalidf("from", "must be a position of the revocation feed, or 0")
	case len(query["nonce"]) != 1 || !feedpage.IsNonce(query.Get("nonce")):
		return 0, "", invalidf("nonce", "must be %d to %d characters of base64url", feedpage.MinNonce,
			feedpage.MaxNonce)
	}
	return from, query.Get("nonce"), nil
}
