package browser_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

const (
	origin  = "https://app.example.com"
	issuer  = "https://api.example.com"
	foreign = "https://evil.example.net"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// request returns a request with the headers. The arguments alternate between names and values.
func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestASourceIsJudgedByFetchMetadata(t *testing.T) {
	t.Parallel()
	const site, mode, dest, user = "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User"
	others := []string{"https://www.example.com"}
	for name, c := range map[string]struct {
		headers []string
		want    browser.Source
	}{
		"a program":                    {nil, browser.Allowed},
		"Node.js":                      {[]string{mode, "cors"}, browser.Allowed},
		"a page of the host":           {[]string{site, "same-origin"}, browser.Allowed},
		"a typed address":              {[]string{site, "none"}, browser.Allowed},
		"a named origin of the site":   {[]string{site, "same-site", "Origin", others[0]}, browser.Allowed},
		"another origin of the site":   {[]string{site, "same-site", "Origin", foreign}, browser.Foreign},
		"a site without an origin":     {[]string{site, "same-site"}, browser.Foreign},
		"two origins":                  {[]string{site, "same-site", "Origin", others[0], "Origin", others[0]}, browser.Foreign},
		"a named origin across sites":  {[]string{site, "cross-site", "Origin", others[0]}, browser.Foreign},
		"a fetch across sites":         {[]string{site, "cross-site", mode, "cors", dest, "empty"}, browser.Foreign},
		"a frame":                      {[]string{site, "cross-site", mode, "navigate", dest, "iframe", user, "?1"}, browser.Foreign},
		"a click elsewhere":            {[]string{site, "cross-site", mode, "navigate", dest, "document", user, "?1"}, browser.Allowed},
		"a navigation by a script":     {[]string{site, "cross-site", mode, "navigate", dest, "document"}, browser.Unproven},
		"a click that is denied":       {[]string{site, "cross-site", mode, "navigate", dest, "document", user, "?0"}, browser.Unproven},
		"two modes":                    {[]string{site, "cross-site", mode, "navigate", mode, "navigate", dest, "document"}, browser.Foreign},
		"two sites":                    {[]string{site, "same-origin", site, "same-origin"}, browser.Foreign},
		"a WebSocket of the host":      {[]string{"Upgrade", "websocket", "Origin", origin}, browser.Allowed},
		"a foreign WebSocket":          {[]string{"Upgrade", "websocket", "Origin", foreign}, browser.Foreign},
		"a WebSocket of two origins":   {[]string{"Upgrade", "websocket", "Origin", origin, "Origin", origin}, browser.Foreign},
		"a foreign one that lies":      {[]string{"Upgrade", "websocket", "Origin", foreign, site, "same-origin"}, browser.Foreign},
		"an upgrade to HTTP/2 of Java": {[]string{"Upgrade", "h2c"}, browser.Allowed},
	} {
		require.Equal(t, c.want, browser.SourceOf(request(http.MethodGet, c.headers...), origin, others),
			name)
	}
}

// The attack: a page of any origin makes the browsers of its visitors send forms to the service.
func TestAFormOfAnotherOriginIsForgeable(t *testing.T) {
	t.Parallel()
	const site, mode = "Sec-Fetch-Site", "Sec-Fetch-Mode"
	const own, basic = "https://example.com", "Basic eA=="
	for name, c := range map[string]struct {
		headers   []string
		forgeable bool
	}{
		"a program":                      {nil, false},
		"a program with credentials":     {[]string{"Authorization", basic}, false},
		"Node.js":                        {[]string{mode, "cors"}, false},
		"a page of the host":             {[]string{site, "same-origin", "Origin", origin}, false},
		"a form of the host":             {[]string{site, "same-origin", mode, "navigate"}, false},
		"a reload of a form":             {[]string{site, "none", mode, "navigate"}, false},
		"a form":                         {[]string{site, "cross-site", mode, "navigate", "Origin", foreign}, true},
		"a form of a sibling":            {[]string{site, "same-site", mode, "navigate", "Origin", foreign}, true},
		"a beacon":                       {[]string{site, "cross-site", mode, "no-cors", "Origin", foreign}, true},
		"a fetch without a preflight":    {[]string{site, "cross-site", mode, "cors", "Origin", foreign}, true},
		"a sibling without a preflight":  {[]string{site, "same-site", mode, "cors", "Origin", foreign}, true},
		"a fetch with a preflight":       {[]string{site, "cross-site", mode, "cors", "Authorization", basic}, false},
		"a sibling with a preflight":     {[]string{site, "same-site", mode, "cors", "Authorization", basic}, false},
		"a form with a stored password":  {[]string{site, "cross-site", mode, "navigate", "Authorization", basic}, true},
		"a beacon with a password":       {[]string{site, "cross-site", mode, "no-cors", "Authorization", basic}, true},
		"two modes":                      {[]string{site, "cross-site", mode, "cors", mode, "cors", "Authorization", basic}, true},
		"two sites":                      {[]string{site, "same-origin", site, "same-origin"}, true},
		"an unknown site":                {[]string{site, "elsewhere"}, true},
		"the site decides, not Origin":   {[]string{site, "cross-site", "Origin", origin}, true},
		"an old browser":                 {[]string{"Origin", foreign}, true},
		"an old browser after preflight": {[]string{"Origin", foreign, "Authorization", basic}, false},
		"an old browser, sandboxed":      {[]string{"Origin", "null"}, true},
		"an old browser, own origin":     {[]string{"Origin", origin}, false},
		"an old browser, second name":    {[]string{"Origin", own}, false},
		"an old browser, other port":     {[]string{"Origin", own + ":8443"}, true},
		"two origins":                    {[]string{"Origin", origin, "Origin", origin}, true},
		"an origin that is no URL":       {[]string{"Origin", "https://exa mple.com"}, true},
		"an empty origin":                {[]string{"Origin", ""}, true},
	} {
		r := request(http.MethodPost, c.headers...)
		require.Equal(t, "example.com", r.Host)
		require.Equal(t, c.forgeable, browser.IsForgeable(r, origin), name)
	}
	r := request(http.MethodPost, "Origin", "null")
	r.Host = ""
	require.True(t, browser.IsForgeable(r, origin), "no Host is no origin")
}

func TestLookingAheadIsNoVisit(t *testing.T) {
	t.Parallel()
	require.False(t, browser.LooksAhead(request(http.MethodGet)))
	require.True(t, browser.LooksAhead(request(http.MethodHead)))
	require.True(t, browser.LooksAhead(request(http.MethodGet, "Sec-Purpose", "prefetch;prerender")))
}

func TestARedirectLeavesTheURLAsItIsAndNoTrace(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	browser.Redirect(w, origin+"/a b?x=%2f", http.StatusSeeOther)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, http.Header{
		"Location": {origin + "/a b?x=%2f"}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"},
	}, w.Header())
}

// fixture is a Sessions with a ring of one key.
type fixture struct {
	*browser.Sessions
	key      *signing.Key
	ring     *signing.Ring
	cookies  seal.Cookies
	verifier token.Verifier
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := signing.NewHS256Key("k", secret)
	require.NoError(t, err)
	ring, err := signing.NewRing([]*signing.Key{key})
	require.NoError(t, err)
	sealer, err := seal.New([]seal.Key{{ID: "s", Bytes: secret}}, "test")
	require.NoError(t, err)
	f := &fixture{key: key, ring: ring, cookies: seal.Cookies{Sealer: sealer}}
	f.verifier = token.Verifier{Type: token.TypeBearer, Issuer: issuer, Audience: issuer, MaxLifetime: 3600}
	f.Sessions = f.sessions(t, f.verifier, origin)
	return f
}

func (f *fixture) sessions(t *testing.T, verifier token.Verifier, origin string) *browser.Sessions {
	t.Helper()
	cache, err := token.NewCache(64)
	require.NoError(t, err)
	return browser.NewSessions(f.cookies, verifier, cache, origin, "/home")
}

// token returns a signed token of the type.
func (f *fixture) token(t *testing.T, typ string) string {
	t.Helper()
	who := token.Identity{
		UserID: "u", SessionID: "s", Username: "alice", IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	text, err := token.Sign(t.Context(), f.key, typ, token.NewPrefix(issuer, issuer), &who, 0, false)
	require.NoError(t, err)
	return text
}

// with returns a request with the cookies.
func with(cookies ...*http.Cookie) *http.Request {
	r := request(http.MethodGet)
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

func TestACookieCarriesItsSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cookie := f.Cookie(f.token(t, token.TypeCookie), time.Hour)
	require.Equal(t, "__Host-auth_session", cookie.Name)
	require.Equal(t, 3600, cookie.MaxAge)
	for range 2 { // verified from the text, then from the cache
		v, err := f.Verify(with(cookie), f.ring, now)
		require.NoError(t, err)
		require.Equal(t, "u", v.Identity.UserID)
	}
	require.Negative(t, f.Removal().MaxAge)
	require.Equal(t, cookie.Name, f.Removal().Name)
}

func TestACookieThatProvesNothingIsRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.Cookie(f.token(t, token.TypeCookie), time.Hour)
	changed := *good
	changed.Value = good.Value[:len(good.Value)-1]
	long := *good
	long.Value = strings.Repeat("A", token.MaxLength+1)
	otherIssuer := f.verifier
	otherIssuer.Issuer = foreign
	for name, c := range map[string]struct {
		request *http.Request
		now     time.Time
		want    error
	}{
		"none":                   {with(), now, browser.ErrNoCookie},
		"one of another name":    {with(&http.Cookie{Name: "auth_session", Value: good.Value}), now, browser.ErrNoCookie},
		"two of them":            {with(good, good), now, token.ErrMalformed},
		"too long":               {with(&long), now, token.ErrMalformed},
		"changed":                {with(&changed), now, token.ErrSignature},
		"a bearer token":         {with(f.Cookie(f.token(t, token.TypeBearer), time.Hour)), now, token.ErrRejected},
		"no token":               {with(f.Cookie("", time.Hour)), now, token.ErrRejected},
		"expired":                {with(good), now.Add(time.Hour), token.ErrRejected},
		"of another origin":      {with(f.sessions(t, f.verifier, foreign).Cookie(f.token(t, token.TypeCookie), time.Hour)), now, token.ErrSignature},
		"of another issuer":      {with(f.sessions(t, otherIssuer, origin).Cookie(f.token(t, token.TypeCookie), time.Hour)), now, token.ErrSignature},
		"sealed by another host": {with(newFixture(t).Cookie(f.token(t, token.TypeCookie), time.Hour)), now, token.ErrSignature},
	} {
		_, err := f.Verify(c.request, f.ring, c.now)
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestOnlyOwnPagesChangeAnything(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, c := range map[string]struct {
		request *http.Request
		want    bool
	}{
		"reading":                     {request(http.MethodGet, "Origin", foreign), true},
		"HEAD":                        {request(http.MethodHead), true},
		"OPTIONS":                     {request(http.MethodOptions, "Sec-Fetch-Site", "cross-site"), true},
		"a change without a header":   {request(http.MethodPost), false},
		"from the host's own page":    {request(http.MethodPost, "Sec-Fetch-Site", "same-origin"), true},
		"from a sibling":              {request(http.MethodDelete, "Sec-Fetch-Site", "same-site"), false},
		"a typed address":             {request(http.MethodPost, "Sec-Fetch-Site", "none"), false},
		"from elsewhere":              {request(http.MethodPut, "Sec-Fetch-Site", "cross-site", "Origin", origin), false},
		"two sites":                   {request(http.MethodPost, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"), false},
		"an old browser's own page":   {request(http.MethodPost, "Origin", origin), true},
		"an old browser's other page": {request(http.MethodPost, "Origin", foreign), false},
		"two origins":                 {request(http.MethodPost, "Origin", origin, "Origin", origin), false},
		"a WebSocket":                 {request(http.MethodGet, "Upgrade", "websocket", "Origin", origin), true},
		"a foreign WebSocket":         {request(http.MethodGet, "Upgrade", "websocket", "Origin", foreign), false},
		"a foreign one that lies":     {request(http.MethodGet, "Upgrade", "websocket", "Origin", foreign, "Sec-Fetch-Site", "same-origin"), false},
		"an upgrade without origin":   {request(http.MethodGet, "Upgrade", "h2c"), false},
	} {
		require.Equal(t, c.want, f.IsOwn(c.request), name)
	}
}

func TestALocationIsOnTheOrigin(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ path, name, value, want string }{
		{"", "", "", "/home"},
		{"", "error", "denied", "/home?error=denied"},
		{"/a", "", "", "/a"},
		{"/a?b=c", "error", "x y&z", "/a?b=c&error=x+y%26z"},
		{"/a#b", "error", "x", "/a?error=x#b"},
		{"/a#", "error", "x", "/a?error=x#"},
	} {
		require.Equal(t, origin+c.want, f.Location(c.path, c.name, c.value))
	}
}
