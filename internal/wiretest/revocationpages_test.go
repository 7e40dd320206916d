package wiretest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

// signedBy makes the service sign with a key of this algorithm.
func signedBy(alg string) func(*fixture, *auth.Config) {
	return func(f *fixture, _ *auth.Config) { f.signer = authtest.NewSigners(f.t)[alg] }
}

// askForPage makes the call GET /auth/revocations with a new nonce, and returns the nonce.
func (f *fixture) askForPage(token string, from int64) (response, string) {
	nonce := rand.Text()
	target := fmt.Sprintf("/auth/revocations?from=%d&nonce=%s", from, nonce)
	return f.sendAs(token, http.MethodGet, target, ""), nonce
}

// page returns the page from the Position on, and the status of the answer.
func (f *fixture) page(token string, from int64) (feedpage.Page, int) {
	f.t.Helper()
	r, nonce := f.askForPage(token, from)
	text := r.body
	if r.status == http.StatusNotModified {
		require.Empty(f.t, r.body)
		text = r.header.Get("Sallyport-Revocations")
	}
	require.Contains(f.t, []int{http.StatusOK, http.StatusNotModified}, r.status, r.body)
	ring, err := signing.ParseJWKS(f.svc.Tokens().JWKS())
	require.NoError(f.t, err)
	page, err := feedpage.Open(ring, text, f.clock.Now())
	require.NoError(f.t, err)
	require.Equal(f.t, issuer, page.Issuer)
	require.Equal(f.t, nonce, page.Nonce)
	require.Equal(f.t, from, page.From)
	return page, r.status
}

// signOut signs the user in and out, which adds an entry to the revocation feed.
func (f *fixture) signOut(user auth.User) auth.Token {
	f.t.Helper()
	token, err := f.svc.SignIn(f.t.Context(), user.ID, auth.LoginOptions{})
	require.NoError(f.t, err)
	require.NoError(f.t, f.svc.Tokens().RevokeToken(f.t.Context(), token.Bearer.Reveal()))
	return token
}

// revokeUnknown adds the entry of a session that the store does not have. It is faster than signOut.
func (f *fixture) revokeUnknown(number int) {
	f.t.Helper()
	require.NoError(f.t, f.store.RevokeToken(f.t.Context(), auth.SessionClaims{
		UserID: fmt.Sprint("user ", number), SessionID: fmt.Sprint("session ", number),
		ExpiresAt: f.clock.Now().Add(time.Hour),
	}))
}

func TestAPageHasTheEntriesFromThePositionOn(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		f := newFixture(t, signedBy(alg))
		admin := f.signIn(f.admin)
		page, status := f.page(admin, 0)
		require.Equal(t, http.StatusNotModified, status, "an empty feed")
		require.Empty(t, page.Entries)

		first, second := f.signOut(f.user), f.signOut(f.user)
		page, status = f.page(admin, 0)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, [3]int64{0, 2, 2}, [3]int64{page.From, page.End, page.Head})
		require.Len(t, page.Entries, 2)
		user, session := feedpage.Hash(issuer, f.user.ID, second.Session.ID)
		require.Equal(t, user, page.Entries[1].UserID)
		require.Equal(t, session, page.Entries[1].SessionID)
		require.Equal(t, second.Session.Generation, page.Entries[1].Generation)
		require.False(t, page.Entries[1].ExpiresAt.Before(second.Session.ExpiresAt))

		after, status := f.page(admin, 1)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, page.Entries, after.Entries, "the entry at the position, and those after it")
		after, status = f.page(admin, 2)
		require.Equal(t, http.StatusNotModified, status)
		require.Equal(t, page.Entries[1:], after.Entries, "the entry at the position shows the history")
		after, status = f.page(admin, 3)
		require.Equal(t, http.StatusOK, status, "the feed is shorter than the caller says")
		require.Empty(t, after.Entries)
		require.EqualValues(t, 2, after.Head)

		_, err := f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID)
		require.NoError(t, err)
		require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		page, _ = f.page(f.signIn(f.admin), 0)
		require.Len(t, page.Entries, 4)
		require.Equal(t, user, page.Entries[2].UserID)
		require.Empty(t, page.Entries[2].SessionID)
		require.Empty(t, page.Entries[3].UserID, "all users")

		r, _ := f.askForPage(f.signIn(f.admin), 0)
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(r.body, ".")[1])
		require.NoError(t, err)
		for _, secret := range []string{f.user.ID, first.Session.ID, second.Session.ID, f.user.Username} {
			require.NotContains(t, string(claims), secret)
		}
		require.Equal(t, "application/revocations+jwt", r.header.Get("Content-Type"))
	}
}

func TestOnlyServicesAndSuperUsersReadTheRevocations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"), hostScopes)
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"no token":                 {"x", http.StatusUnauthorized},
		"a person":                 {f.signIn(f.user), http.StatusForbidden},
		"a person with the scope":  {f.limited(f.user, auth.ScopeRevocations), http.StatusForbidden},
		"a super user":             {f.signIn(f.admin), http.StatusNotModified},
		"a super user, limited":    {f.limited(f.admin, auth.ScopeRevocations), http.StatusNotModified},
		"a service user":           {f.signInService(), http.StatusNotModified},
		"a service user, limited":  {f.signInService(auth.ScopeRevocations), http.StatusNotModified},
		"a service user, others":   {f.signInService(reading), http.StatusForbidden},
		"a super user, other ones": {f.limited(f.admin, auth.ScopeUsers, auth.ScopeSuperUser), http.StatusForbidden},
	} {
		r, _ := f.askForPage(c.token, 0)
		require.Equal(t, c.want, r.status, name)
	}
	admin := f.signIn(f.admin)
	demoted, isNot := f.other(), false
	super := true
	_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, demoted.ID, auth.UserChange{IsSuperUser: &super})
	require.NoError(t, err)
	token := f.signIn(demoted)
	require.Equal(t, http.StatusNotModified, first(f.askForPage(token, 0)).status)
	_, err = f.svc.UpdateUser(t.Context(), authtest.ByHost, demoted.ID, auth.UserChange{IsSuperUser: &isNot})
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, first(f.askForPage(token, 0)).status, "no longer a super user")

	for _, query := range []string{
		"", "?from=0", "?nonce=0123456789abcdef", "?from=-1&nonce=0123456789abcdef",
		"?from=00&nonce=0123456789abcdef", "?from=%2B1&nonce=0123456789abcdef", "?from=x&nonce=0123456789abcdef",
		"?from=9223372036854775808&nonce=0123456789abcdef", "?from=0&nonce=0123456789abcde",
		"?from=0&nonce=" + strings.Repeat("a", 65), "?from=0&nonce=0123456789abcde%22",
		"?from=0&from=1&nonce=0123456789abcdef", "?from=0&nonce=0123456789abcdef&nonce=0123456789abcdef",
	} {
		r := f.sendAs(admin, http.MethodGet, "/auth/revocations"+query, "")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, query)
	}
	require.Equal(t, http.StatusNotFound,
		send(hostHandler{f.svc.Handler()}, http.MethodGet, "/auth/revocations", "").status,
		"the host has not named the group")
}

// signInService signs a new service user in, with these scopes or without a limit.
func (f *fixture) signInService(scopes ...string) string {
	f.t.Helper()
	params := auth.UserParams{Username: "service " + rand.Text(), IsService: true}
	if scopes != nil {
		params.Key.Scopes = auth.NewScopes(scopes...)
	}
	made, err := f.svc.Register(f.t.Context(), authtest.ByHost, params)
	require.NoError(f.t, err)
	return f.open(made.Pair).Bearer.Reveal()
}

// first returns the first of two values.
func first[A, B any](a A, _ B) A { return a }

// No other service could verify a page that is signed with HS256.
func TestAServiceThatSignsWithHS256HasNoPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 3 {
		r, _ := f.askForPage(f.signIn(f.admin), 0)
		require.Equal(t, http.StatusServiceUnavailable, r.status)
		require.Contains(t, r.json(t)["detail"], "HS256")
	}
	require.Equal(t, 1, strings.Count(f.log.String(), "the revocations cannot be signed"), f.log)
}

// A service user that is disabled loses the call at once, although the service remembers who is a service.
func TestADisabledServiceUserReadsNoRevocations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"))
	made, err := f.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "reports", IsService: true})
	require.NoError(t, err)
	token := f.open(made.Pair).Bearer.Reveal()
	f.page(token, 0)
	f.setActive(made.User, false)
	r, _ := f.askForPage(token, 0)
	require.Equal(t, http.StatusUnauthorized, r.status)
}

// The entries that verifiers ask for all the time come from memory. The store is read at most twice a
// second, however many verifiers ask.
func TestPagesComeFromMemory(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	f := newFixture(t, signedBy("EdDSA"), withFaults(func(string) error {
		reads.Add(1)
		return nil
	}))
	admin := f.signInService()
	for range 5 {
		f.signOut(f.user)
	}
	f.page(admin, 5)
	f.signOut(f.user)
	reads.Store(0)
	for range 100 {
		_, status := f.page(admin, 5)
		require.Equal(t, http.StatusOK, status)
		_, status = f.page(admin, 6)
		require.Equal(t, http.StatusNotModified, status)
	}
	require.Zero(t, reads.Load())
	f.clock.Advance(time.Second)
	for range 100 {
		f.page(admin, 6)
	}
	require.EqualValues(t, 1, reads.Load())
	page, _ := f.page(admin, 0)
	require.Len(t, page.Entries, 6)
	require.EqualValues(t, 2, reads.Load(), "entries from before the first request are in the store")
	// A position that does not exist yet can exist at another instance, so the store is asked.
	f.page(admin, 7)
	require.EqualValues(t, 3, reads.Load())
}

// An instance that has not read the feed since another instance has revoked a session reads it if a
// verifier already knows the revocation.
func TestAnInstanceThatIsBehindItsVerifierReadsTheFeed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"))
	other, err := auth.New(f.store, auth.Config{Issuer: issuer, Now: f.clock.Now,
		SigningKeys: []auth.SigningKey{f.signer.Key}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	admin := f.signIn(f.admin)
	f.page(admin, 0)
	require.NoError(t, other.Tokens().RevokeToken(t.Context(), f.signIn(f.user)))
	_, status := f.page(admin, 0)
	require.Equal(t, http.StatusNotModified, status, "the copy is recent")
	page, status := f.page(admin, 1)
	require.Equal(t, http.StatusNotModified, status)
	require.Len(t, page.Entries, 1)
}

func TestALongFeedHasSeveralPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"))
	const length = 2*feedpage.MaxEntries + 500
	for i := range length {
		f.revokeUnknown(i)
	}
	admin := f.signIn(f.admin)
	from, pages, entries := int64(0), 0, 0
	for {
		page, _ := f.page(admin, from)
		require.EqualValues(t, length, page.Head)
		pages, entries = pages+1, entries+len(page.Entries)
		if page.End == page.Head {
			break
		}
		require.Len(t, page.Entries, feedpage.MaxEntries)
		require.Equal(t, page.Entries[len(page.Entries)-1].Position, page.End)
		from = page.End
	}
	require.Equal(t, 3, pages)
	require.Equal(t, length+2, entries, "each page begins with the last entry of the one before")
}

// While the store does not answer, the pages say how old they are. They end when the instance accepts no
// token any more.
func TestPagesSayHowOldTheyAre(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	f := newFixture(t, signedBy("EdDSA"), withFaults(func(method string) error {
		if down.Load() && method == "ListRevocations" {
			return errors.New("the store is down")
		}
		return nil
	}))
	admin := f.signIn(f.admin)
	f.signOut(f.user)
	f.page(admin, 1)
	down.Store(true)
	for range 5 {
		f.clock.Advance(10 * time.Second)
		page, status := f.page(admin, 1)
		require.Equal(t, http.StatusNotModified, status)
		require.Equal(t, f.clock.Now().UnixMilli(), page.SignedAt.UnixMilli())
	}
	page, _ := f.page(admin, 1)
	require.Equal(t, 50*time.Second, page.SignedAt.Sub(page.AsOf))
	r, _ := f.askForPage(admin, 2)
	require.Equal(t, http.StatusServiceUnavailable, r.status, "the feed may have the position")
	r, _ = f.askForPage(admin, 0)
	require.Equal(t, http.StatusServiceUnavailable, r.status, "old entries are in the store")
	f.page(admin, 1)
	require.Contains(t, f.log.String(), "auth: request failed")
	require.NotContains(t, f.log.String(), "requests succeed again", "the page comes from memory")
	f.clock.Advance(10 * time.Second)
	r, _ = f.askForPage(admin, 1)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	down.Store(false)
	f.clock.Advance(time.Second)
	f.page(admin, 1)
	require.Contains(t, f.log.String(), "requests succeed again")
}

// With CheckSessionsInStore, the instance itself does not use the feed, but verifiers do.
func TestAnInstanceWithoutAFeedHasPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
		cfg.Tokens.CheckSessionsInStore = true
	})
	admin := f.signIn(f.admin)
	f.page(admin, 0)
	f.signOut(f.user)
	f.clock.Advance(time.Second)
	page, status := f.page(admin, 0)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, page.Entries, 1)
}

// payload returns the claims of a page or a token.
func payload(t testing.TB, text string) map[string]any {
	t.Helper()
	segment, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	require.NoError(t, err)
	decoder := json.NewDecoder(strings.NewReader(string(segment)))
	decoder.UseNumber()
	var claims map[string]any
	require.NoError(t, decoder.Decode(&claims))
	return claims
}

func TestAPageHasTheDocumentedClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t, signedBy("EdDSA"))
	f.signOut(f.user)
	r, _ := f.askForPage(f.signIn(f.admin), 0)
	claims := payload(t, r.body)
	require.ElementsMatch(t, []string{"iss", "nonce", "from", "end", "head", "signed_at", "as_of", "entries"},
		slices.Collect(maps.Keys(claims)))
	require.NoError(t, wire.validate("/components/schemas/RevocationPage", claims))
	entry := claims["entries"].([]any)[0].(map[string]any)
	require.ElementsMatch(t, []string{"position", "id", "user", "session", "generation", "expires_at"},
		slices.Collect(maps.Keys(entry)))
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(r.body, ".")[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"alg": "EdDSA", "kid": "ed", "typ": "revocations+jwt"}`, string(header))
}

// A host with its own users table decides who is a service, and is asked each time, because it can change
// its mind.
func TestAHostDecidesWhoReadsTheRevocations(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t, signedBy("EdDSA"))
	set := func(service, super bool) {
		h.table.change("u-alice", func(u *auth.User) { u.IsService, u.IsSuperUser = service, super })
	}
	set(true, false)
	token, err := h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
	require.NoError(t, err)
	for _, want := range []struct {
		service, super bool
		status         int
	}{
		{true, false, http.StatusNotModified}, {false, false, http.StatusForbidden},
		{false, true, http.StatusNotModified}, {false, false, http.StatusForbidden},
	} {
		set(want.service, want.super)
		r, _ := h.askForPage(token.Bearer.Reveal(), 0)
		require.Equal(t, want.status, r.status, want)
	}
}
