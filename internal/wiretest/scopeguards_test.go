package wiretest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

// segments returns the decoded header and the decoded claims of a token.
func segments(t testing.TB, token string) (header, claims string) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	for i, into := range []*string{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		*into = string(text)
	}
	return header, claims
}

// A verifier that knows nothing of scopes must reject the token of a limited session. The token of an
// unlimited session must be as it was before there were scopes.
func TestOnlyATokenWithScopesHasATypeOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	for _, scopes := range []*auth.ScopeSet{nil, auth.NewScopes(), auth.NewScopes(writing, reading)} {
		pair := f.keyOf(f.user, scopes)
		answer := f.login(pair)
		require.Equal(t, http.StatusOK, answer.status)
		object := answer.json(t)
		require.Len(t, object, 4)
		bearer := object["token"].(string)
		require.Equal(t, `{"token":"`+bearer+`","token_type":"bearer","expires_in":43200,`+
			`"is_super_user":false}`+"\n", answer.body)

		identity, err := f.svc.Tokens().Verify(t.Context(), bearer)
		require.NoError(t, err)
		session, err := f.store.FindSession(t.Context(), identity.SessionID)
		require.NoError(t, err)
		typ, added := "JWT", ""
		if scopes != nil {
			typ = "at+jwt"
			added = fmt.Sprintf(`,"scope":%q,"client_id":%q`, scopes.String(), pair.AccessKey)
		}
		header, claims := segments(t, bearer)
		require.Equal(t, fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":%q}`, f.signer.Key.ID(), typ), header)
		require.Equal(t, fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":%q,"jti":%q,"iat":%d,"exp":%d,"gen":%d,`+
			`"username":"alice","is_super_user":false%s}`, issuer, issuer, f.user.ID, identity.SessionID,
			session.CreatedAt.Unix(), session.ExpiresAt.Unix(), session.Generation, added), claims)
		want := auth.Identity{UserID: f.user.ID, Username: "alice", SessionID: identity.SessionID,
			IssuedAt: session.CreatedAt, ExpiresAt: session.ExpiresAt, Audience: issuer}
		if scopes != nil {
			want.Limited, want.Scope, want.AccessKeyID = true, scopes.String(), pair.AccessKey
		}
		require.Equal(t, want, identity)
	}
}

func TestTheLongestLimitedTokenIsAccepted(t *testing.T) {
	t.Parallel()
	for name, s := range authtest.NewSigners(t) {
		scopes := make([]string, 14) // with a space between two of them, 900 bytes
		for i := range scopes {
			scopes[i] = fmt.Sprintf("%02d", i) + strings.Repeat("x", 62)
		}
		scopes[13] = scopes[13][:55]
		f := &tokens{Signer: s, clock: authtest.NewClock(), store: memstore.New()}
		var err error
		f.issuer, err = auth.NewTokenIssuer(f.store, "https://x/"+strings.Repeat("&", 246),
			[]auth.SigningKey{s.Key}, auth.TokenConfig{Audiences: []string{strings.Repeat("a", 256)},
				Now: f.clock.Now, Scopes: scopes})
		require.NoError(t, err)
		id, key := strings.Repeat(`"`, auth.MaxIDLength), strings.Repeat(`"`, storekit.MaxAccessKeyLength)
		every := auth.NewScopes(append(scopes, allScopes[:6]...)...)
		require.NoError(t, f.store.Register(t.Context(), authtest.HostWrite,
			auth.User{ID: id, Username: strings.Repeat(`"`, 128), IsActive: true, CreatedAt: f.clock.Now()},
			auth.AccessKey{ID: key, UserID: id, Hash: "$none", CreatedAt: f.clock.Now(), Scopes: every}))
		token, err := f.issuer.Issue(t.Context(),
			auth.IssueParams{UserID: id, Method: auth.MethodAccessKey, AccessKeyID: key})
		require.NoError(t, err)
		require.True(t, f.requireAccepted(t, token.Bearer.Reveal()).Scopes().Equal(every), name)
	}
}

func TestAnIdentityKnowsItsScopes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		identity  auth.Identity
		scopes    *auth.ScopeSet
		has, lack []string
	}{
		{auth.Identity{}, nil, nil, []string{reading, auth.ScopeSuperUser, ""}}, // no caller
		{auth.Identity{UserID: "u"}, nil, []string{reading, auth.ScopeSuperUser, ""}, nil},
		{auth.Identity{UserID: "u", Scope: reading}, nil, []string{reading, writing}, nil}, // no limit
		{auth.Identity{UserID: "u", Limited: true}, auth.NewScopes(), nil,
			[]string{reading, auth.ScopeSuperUser, ""}},
		{auth.Identity{UserID: "u", Limited: true, Scope: "reports:read reports:write"},
			auth.NewScopes(writing, reading),
			[]string{reading, writing}, []string{"reports", "reports:", "reports:rea", "reports:read ",
				"reports:read reports:write", "eports:read", "REPORTS:READ", auth.ScopeKeys, ""}},
	} {
		require.True(t, test.scopes.Equal(test.identity.Scopes()), test.identity)
		for _, scope := range test.has {
			require.True(t, test.identity.HasScope(scope), scope)
			require.NoError(t, test.identity.CheckScope(scope), scope)
		}
		for _, scope := range test.lack {
			require.False(t, test.identity.HasScope(scope), scope)
			err := test.identity.CheckScope(scope)
			require.ErrorIs(t, err, auth.ErrInsufficientScope)
			var insufficient *auth.InsufficientScopeError
			require.ErrorAs(t, err, &insufficient)
			require.Equal(t, scope, insufficient.Scope)
			status, _ := auth.ErrorStatus(err)
			require.Equal(t, http.StatusForbidden, status)
		}
	}
}

// reached counts the requests that reach the host's handler.
func reached(count *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*count++
		if caller, ok := auth.IdentityFromContext(r.Context()); !ok || caller.UserID == "" {
			panic("the caller is not in the context")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func TestRequireScopeLetsOnlyTokensWithTheScopePass(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, hostScopes, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	served := 0
	alone := f.svc.RequireScope(reading, reached(&served))
	for name, guarded := range map[string]http.Handler{"alone": alone, "inside": f.svc.Authenticate(alone)} {
		for _, token := range []string{
			f.signIn(f.user), f.limited(f.user, reading), f.limited(f.user, allScopes...),
		} {
			served = 0
			r := send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+token)
			require.Equal(t, http.StatusNoContent, r.status, name)
			require.Equal(t, 1, served, name)
		}
		got.Deliver(t, f.svc)
		served = 0
		for _, scopes := range []*auth.ScopeSet{without(reading), auth.NewScopes()} {
			session := f.open(f.keyOf(f.user, scopes))
			got.Deliver(t, f.svc)
			r := send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+session.Bearer.Reveal())
			requireLacks(t, reading, r, name)
			events := got.Deliver(t, f.svc)
			require.Len(t, events, 1, name)
			require.Equal(t, eventkind.AccessRefused, events[0].Kind)
			require.Equal(t, f.user.ID, events[0].UserID)
			require.Equal(t, f.user.ID, events[0].ActorID)
			require.Equal(t, session.Session.ID, events[0].SessionID)
		}
		for _, header := range [][]string{nil, {"Authorization", "Bearer x"}, {"Authorization", "Basic x"}} {
			r := send(guarded, http.MethodGet, "/", "", header...)
			require.Equal(t, http.StatusUnauthorized, r.status, name)
		}
		require.Zero(t, served, name)
	}
}

func TestRequireScopePanicsForAScopeThatNoKeyCanHave(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	for _, scope := range []string{"", "reports", "Reports:read", "auth:everything", "everything",
		"reports:read reports:write"} {
		message := fmt.Sprintf("auth: Service.RequireScope: TokenConfig.Scopes has no scope %q", scope)
		require.PanicsWithValue(t, message, func() { f.svc.RequireScope(scope, reached(new(int))) })
	}
	require.Panics(t, func() { f.svc.RequireScope(reading, nil) })
	require.NotPanics(t, func() { f.svc.RequireScope(auth.ScopeEvents, reached(new(int))) })
}

func TestABrowserSessionPassesRequireScopeOnlyFromAPageOfTheHost(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions, githubHostScopes)
	b := g.browser()
	b.signInByCookie("")
	cookie := b.cookieHeader("auth_session")
	served := 0
	alone := g.svc.RequireScope(reading, reached(&served))
	for _, guarded := range []http.Handler{alone, g.svc.Authenticate(alone)} {
		served = 0
		own := send(guarded, http.MethodPost, "/", "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
		require.Equal(t, http.StatusNoContent, own.status)
		require.Equal(t, "private, no-cache", own.header.Get("Cache-Control"))
		foreign := send(guarded, http.MethodPost, "/", "", "Cookie", cookie, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusForbidden, foreign.status)
		require.Empty(t, foreign.header.Get("WWW-Authenticate"), "a scope would not help")
		limited := send(guarded, http.MethodGet, "/", "", "Cookie", cookie,
			"Authorization", "Bearer "+g.limited(g.user, writing))
		requireLacks(t, reading, limited, "the bearer token counts, not the cookie")
		require.Equal(t, 1, served)
	}
}

func TestARemoteVerifierRequiresScopesOfItsOwnCallers(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	r.requireGood(t, r.token.Bearer.Reveal()) // fetches the keys
	limitedTo := func(scopes ...string) []string {
		token, err := r.issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost,
			Scopes: auth.NewScopes(scopes...), Audience: audience})
		require.NoError(t, err)
		return []string{"Authorization", "Bearer " + token.Bearer.Reveal()}
	}
	served := 0
	alone := r.verifier.RequireScope(auth.ScopeEvents, reached(&served))
	inside := r.verifier.Authenticate(alone)
	ask := func(h http.Handler, header []string) response {
		return send(h, http.MethodGet, "/", "", header...)
	}
	unlimited := []string{"Authorization", "Bearer " + r.token.Bearer.Reveal()}
	require.Equal(t, http.StatusNoContent, ask(inside, unlimited).status)
	require.Equal(t, http.StatusNoContent, ask(inside, limitedTo(auth.ScopeEvents, auth.ScopeKeys)).status)
	require.Equal(t, 2, served)
	requireLacks(t, auth.ScopeEvents, ask(inside, limitedTo(auth.ScopeKeys)))
	requireLacks(t, auth.ScopeEvents, ask(inside, limitedTo()))
	other := r.verifierWith(t, func(*auth.RemoteVerifierConfig) {})
	_, err := other.Verify(t.Context(), r.token.Bearer.Reveal())
	require.NoError(t, err)
	for name, handler := range map[string]http.Handler{
		"alone": alone, "inside another verifier": other.Authenticate(alone),
		"inside WithIdentity": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			alone.ServeHTTP(w, req.WithContext(auth.WithIdentity(req.Context(), auth.Identity{UserID: "u1"})))
		}),
	} {
		served = 0
		require.Equal(t, http.StatusNoContent, ask(handler, unlimited).status, name)
		requireLacks(t, auth.ScopeEvents, ask(handler, limitedTo(auth.ScopeKeys)), name)
		require.Equal(t, http.StatusUnauthorized, ask(handler, nil).status, name)
		require.Equal(t, 1, served, name)
	}
	require.Panics(t, func() { r.verifier.RequireScope(auth.ScopeEvents, nil) })
}

func TestALimitedSuperUserNeedsTheScopeForSuperUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	served := 0
	guarded := f.svc.RequireSuperUser(reached(&served))
	for _, test := range []struct {
		user   auth.User
		scopes *auth.ScopeSet
		want   error
	}{
		{f.admin, nil, nil},
		{f.admin, auth.NewScopes(auth.ScopeSuperUser), nil},
		{f.admin, without(auth.ScopeSuperUser), auth.ErrInsufficientScope},
		{f.admin, auth.NewScopes(), auth.ErrInsufficientScope},
		{f.user, nil, auth.ErrSuperUserRequired},
		{f.user, auth.NewScopes(allScopes...), auth.ErrSuperUserRequired},
	} {
		bearer := f.open(f.keyOf(test.user, test.scopes)).Bearer.Reveal()
		ctx, err := f.svc.IdentifyContext(newBearer(bearer))
		require.NoError(t, err)
		_, err = f.svc.SuperUser(ctx)
		require.ErrorIs(t, err, test.want)
		_, err = f.svc.User(ctx)
		require.NoError(t, err, "User needs no scope")
		for _, handler := range []http.Handler{guarded, f.svc.Authenticate(guarded)} {
			served = 0
			r := send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+bearer)
			switch test.want {
			case nil:
				require.Equal(t, http.StatusNoContent, r.status)
			case auth.ErrInsufficientScope:
				requireLacks(t, auth.ScopeSuperUser, r)
			default:
				require.Equal(t, http.StatusForbidden, r.status)
				require.Empty(t, r.header.Get("WWW-Authenticate"), "no scope makes a super user")
			}
			require.Equal(t, test.want == nil, served == 1)
		}
	}
}

// newLimits contains scopes for a key that was limited to reading or not limited at all.
var newLimits = []*auth.ScopeSet{
	nil, auth.NewScopes(), auth.NewScopes(auth.ScopeKeys), auth.NewScopes(reading),
}

// identifies returns the status of a request with the token, whatever its scopes are.
func identifies(svc *auth.Service, token string) int {
	return send(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := svc.Identify(r); err != nil {
			auth.WriteError(w, r, err)
		}
	}), http.MethodGet, "/", "", "Authorization", "Bearer "+token).status
}

func TestSettingTheScopesOfAKeyRevokesItsSessions(t *testing.T) {
	t.Parallel()
	for _, before := range []*auth.ScopeSet{nil, auth.NewScopes(reading)} {
		for _, after := range newLimits {
			in := newInstances(t, func(cfg *auth.Config) { cfg.Tokens.Scopes = []string{reading} })
			pair := in.keyOf(in.user, before)
			opened, bystander := in.open(pair).Bearer.Reveal(), in.loginToken(t)
			for _, svc := range []*auth.Service{in.svc, in.other} {
				require.Equal(t, http.StatusOK, identifies(svc, opened))
			}
			keys := in.svc.Credentials()
			require.NoError(t, keys.SetScopes(t.Context(), authtest.ByHost, pair.AccessKey, after))
			require.Equal(t, http.StatusUnauthorized, identifies(in.svc, opened), "at once")
			in.clock.Advance(5*time.Second - 1)
			require.Equal(t, http.StatusOK, identifies(in.other, opened), "it has not read the feed")
			in.clock.Advance(1)
			require.Equal(t, http.StatusUnauthorized, identifies(in.other, opened))
			require.Equal(t, http.StatusOK, status(in.svc, bystander), "another key of the user")
			require.True(t, after.Equal(in.scopesOf(pair)), "the secret stays")

			event := in.trail()[0]
			require.Equal(t, eventkind.KeyChanged, event.Kind)
			require.Equal(t, []string{in.user.ID, pair.AccessKey, "test"},
				[]string{event.UserID, event.AccessKey, event.Host})
			require.Equal(t, "scopes: "+after.String(), event.Reason)
		}
	}
}

func TestSettingTheScopesOfAKeyEmitsItsEventWithoutATrail(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.DisableAuditTrail = got.Add, true
	})
	got.Deliver(t, f.svc)
	key := f.userPair.AccessKey
	require.NoError(t, f.svc.Credentials().SetScopes(t.Context(), authtest.ByHost, key, nil))
	events := got.Deliver(t, f.svc)
	require.Len(t, events, 1)
	require.Equal(t, eventkind.KeyChanged, events[0].Kind)
	require.Equal(t, key, events[0].AccessKey)
}

func TestSettingScopesThatAreNotValidChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	pair := f.keyOf(f.user, auth.NewScopes(reading))
	opened, keys := f.open(pair).Bearer.Reveal(), f.svc.Credentials()
	for _, scopes := range []*auth.ScopeSet{
		auth.NewScopes("reports:delete"), auth.NewScopes(reading, "auth:everything"), auth.NewScopes(""),
		auth.NewScopes("a b"), auth.NewScopes(strings.Repeat("x", 65)),
	} {
		var invalid *auth.InvalidError
		err := keys.SetScopes(t.Context(), authtest.ByHost, pair.AccessKey, scopes)
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "scopes", invalid.Field)
	}
	err := keys.SetScopes(t.Context(), authtest.ByHost, "ak_live_0", nil)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, http.StatusOK, identifies(f.svc, opened))
	require.True(t, auth.NewScopes(reading).Equal(f.scopesOf(pair)))
}

func TestScopesOfTheHostThatAreNotValidAreRejected(t *testing.T) {
	t.Parallel()
	many := make([]string, 15)
	for i := range many {
		many[i] = fmt.Sprintf("%02d", i) + strings.Repeat("x", 62)
	}
	cfg := auth.Config{Issuer: issuer,
		SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}}
	for name, test := range map[string]struct {
		scopes []string
		want   string
	}{
		"reserved":       {[]string{reading, "auth:x"}, "TokenConfig.Scopes[1]"},
		"a known one":    {[]string{auth.ScopeUsers}, "TokenConfig.Scopes[0]"},
		"empty":          {[]string{""}, "TokenConfig.Scopes[0]"},
		"a space":        {[]string{"reports read"}, "TokenConfig.Scopes[0]"},
		"a quote":        {[]string{reading, writing, `reports"`}, "TokenConfig.Scopes[2]"},
		"a backslash":    {[]string{`reports\`}, "TokenConfig.Scopes[0]"},
		"a line break":   {[]string{"reports\n"}, "TokenConfig.Scopes[0]"},
		"no ASCII":       {[]string{"réports"}, "TokenConfig.Scopes[0]"},
		"65 bytes":       {[]string{strings.Repeat("x", 65)}, "TokenConfig.Scopes[0]"},
		"together large": {many, "TokenConfig.Scopes has 974 bytes"},
	} {
		cfg.Tokens.Scopes = test.scopes
		_, err := auth.New(memstore.New(), cfg)
		require.ErrorContains(t, err, test.want, name)
	}
	for _, scopes := range [][]string{
		nil, {"a"}, {reading, reading}, {"Auth:x", "auth", "x:auth:"}, many[:13],
	} {
		cfg.Tokens.Scopes = slices.Clone(scopes)
		_, err := auth.New(memstore.New(), cfg)
		require.NoError(t, err, scopes)
	}
}
