package wiretest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// delegator is a service with the user alice and the service user agent, who may get tokens for the
// audience of this file. The users are in the store or in the table of a host.
type delegator struct {
	*fixture
	caller  auth.Identity // of alice's token, which is valid for 12 hours
	bearer  string        // alice's token
	aliceID string
	agent   string // the ID of the service user

	add     func(auth.User)
	disable func(id string)
	another func() *auth.Service // returns another instance over the same store
}

// everyDelegator runs the test with users in the store and with users of the host, with the revocation
// feed and without it.
func everyDelegator(t *testing.T, test func(t *testing.T, d *delegator)) {
	for name, make := range map[string]func(testing.TB, ...func(*fixture, *auth.Config)) *delegator{
		"users in the store": newDelegator, "users of the host": newHostDelegator,
	} {
		for feed, check := range map[string]bool{"feed": false, "no feed": true} {
			t.Run(name+", "+feed, func(t *testing.T) {
				t.Parallel()
				test(t, make(t, func(_ *fixture, cfg *auth.Config) {
					cfg.Tokens.CheckSessionsInStore = check
				}))
			})
		}
	}
}

func newDelegator(t testing.TB, change ...func(*fixture, *auth.Config)) *delegator {
	t.Helper()
	var cfg auth.Config
	d := &delegator{fixture: newFixture(t, delegating(change, &cfg)...)}
	d.aliceID = d.user.ID
	d.add = func(user auth.User) {
		user.Username, user.CreatedAt = user.ID, d.clock.Now()
		require.NoError(t, d.store.Register(t.Context(), authtest.HostWrite, user,
			auth.AccessKey{
				ID: "key of " + user.ID, UserID: user.ID, Hash: "$none", CreatedAt: d.clock.Now(),
			}))
	}
	d.disable = func(id string) { d.setActive(auth.User{ID: id}, false) }
	d.another = func() *auth.Service {
		svc, err := auth.New(d.store, cfg)
		require.NoError(t, err)
		return svc
	}
	return d.begin()
}

// delegating configures two audiences, makes the changes, and copies the configuration to cfg.
func delegating(
	change []func(*fixture, *auth.Config), cfg *auth.Config,
) []func(*fixture, *auth.Config) {
	return slices.Concat([]func(*fixture, *auth.Config){twoAudiences}, change,
		[]func(*fixture, *auth.Config){func(f *fixture, c *auth.Config) {
			c.SigningKeys = []auth.SigningKey{f.signer.Key}
			*cfg = *c
		}})
}

func newHostDelegator(t testing.TB, change ...func(*fixture, *auth.Config)) *delegator {
	t.Helper()
	var cfg auth.Config
	h := newHostFixture(t, delegating(change, &cfg)...)
	d := &delegator{fixture: h.fixture, aliceID: "u-alice"}
	d.add = func(user auth.User) { h.table.change(user.ID, func(u *auth.User) { *u = user }) }
	d.disable = func(id string) {
		h.table.setActive(id, false)
		require.NoError(t, errorOf(h.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, id)))
	}
	d.another = func() *auth.Service {
		svc, err := auth.NewWithUsers(h.accounts, h.table, cfg)
		require.NoError(t, err)
		return svc
	}
	return d.begin()
}

// begin adds the agent and signs alice in.
func (d *delegator) begin() *delegator {
	d.agent = "agent"
	d.add(auth.User{ID: d.agent, IsActive: true, IsService: true, Audiences: audience})
	d.bearer, d.caller = d.sign(auth.LoginOptions{})
	return d
}

// sign signs alice in.
func (d *delegator) sign(options auth.LoginOptions) (string, auth.Identity) {
	d.t.Helper()
	token, err := d.svc.SignIn(d.t.Context(), d.aliceID, options)
	require.NoError(d.t, err)
	identity, err := d.svc.Tokens().Verify(d.t.Context(), token.Bearer.Reveal())
	require.NoError(d.t, err)
	return token.Bearer.Reveal(), identity
}

// usual returns a delegation that is accepted.
func (d *delegator) usual() auth.Delegation {
	return auth.Delegation{For: d.agent, Audience: audience, Scopes: auth.NewScopes(reading)}
}

func (d *delegator) delegate(
	caller auth.Identity, change ...func(*auth.Delegation),
) (auth.DelegatedToken, error) {
	d.t.Helper()
	delegation := d.usual()
	for _, c := range change {
		c(&delegation)
	}
	made, err := d.svc.Tokens().Delegate(d.t.Context(), caller, delegation)
	if err != nil {
		require.Zero(d.t, made)
	}
	return made, err
}

func (d *delegator) mustDelegate(change ...func(*auth.Delegation)) auth.DelegatedToken {
	d.t.Helper()
	made, err := d.delegate(d.caller, change...)
	require.NoError(d.t, err)
	return made
}

func TestADelegatedTokenActsForItsUserAtOneOtherService(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		made := d.mustDelegate()
		want := d.caller
		want.Audience, want.Actor, want.Limited, want.Scope = audience, d.agent, true, reading
		want.ExpiresAt = want.IssuedAt.Add(15 * time.Minute)
		require.Equal(t, want, made.Identity)
		require.Equal(t, want, d.requireOnlyFor(made.Bearer.Reveal(), audience))

		again := d.mustDelegate()
		require.NotEqual(t, made.Bearer.Reveal(), again.Bearer.Reveal(), "each token has an ID of its own")
		sessions, err := d.accounts.ListSessions(t.Context(), d.aliceID, d.clock.Now())
		require.NoError(t, err)
		require.Len(t, sessions, 1, "no session is stored")
		require.Contains(t, d.log.String(), "token.delegated")
	})
}

func TestADelegatedTokenIsVerifiedByARemoteVerifier(t *testing.T) {
	t.Parallel()
	d := newDelegator(t, func(f *fixture, cfg *auth.Config) {
		f.signer = authtest.NewSigners(t)["EdDSA"]
		cfg.Tokens.Claims = func(_ context.Context, s auth.Session, u auth.User) (map[string]any, error) {
			require.Equal(t, u.ID, s.UserID)
			return map[string]any{"team": 7}, nil
		}
	})
	pair := d.keyOf(d.user, auth.NewScopes(reading, auth.ScopeKeys))
	limited := d.open(pair)
	caller, err := d.svc.Tokens().Verify(t.Context(), limited.Bearer.Reveal())
	require.NoError(t, err)
	made, err := d.delegate(caller)
	require.NoError(t, err)
	require.Equal(t, pair.AccessKey, made.Identity.AccessKeyID)
	require.Equal(t, `{"team":7}`, made.Identity.Claims)
	for to, accepted := range map[string]bool{audience: true, otherAudience: false} {
		remote, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
			JWKS: d.svc.Tokens().JWKS(), Issuer: issuer, Audience: to, Now: d.clock.Now})
		require.NoError(t, err)
		served := 0
		ask := func(scope string) int {
			handler := remote.Authenticate(remote.RequireScope(scope, reached(&served)))
			bearer := "Bearer " + made.Bearer.Reveal()
			return send(handler, http.MethodGet, "/", "", "Authorization", bearer).status
		}
		identity, err := remote.Verify(t.Context(), made.Bearer.Reveal())
		if !accepted {
			require.ErrorIs(t, err, auth.ErrTokenRejected)
			require.Equal(t, http.StatusUnauthorized, ask(reading))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, made.Identity, identity)
		require.Equal(t, http.StatusNoContent, ask(reading))
		require.Equal(t, http.StatusForbidden, ask(writing))
		require.Equal(t, http.StatusForbidden, ask(auth.ScopeKeys))
	}
}

func TestADelegatedTokenNeverOutlivesTheCallersToken(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		began := d.caller.IssuedAt
		for _, c := range []struct {
			after, lifetime, want time.Duration // after: since the sign-in
		}{
			{0, 0, 15 * time.Minute},
			{0, time.Second, time.Second},
			{500 * time.Millisecond, time.Hour, time.Hour},
			{0, 12 * time.Hour, 12 * time.Hour},
			{0, 13 * time.Hour, 12 * time.Hour},
			{0, 1<<63 - 1 - (1<<63-1)%time.Second, 12 * time.Hour},
			{11 * time.Hour, 2 * time.Hour, time.Hour},
			{12*time.Hour - 10*time.Minute, 0, 10 * time.Minute},
			{12*time.Hour - time.Second, 0, time.Second},
			{12*time.Hour - time.Millisecond, 0, time.Second}, // issued in the second in which it expires
			{12 * time.Hour, 0, 0},
			{12 * time.Hour, time.Hour, 0},
			{13 * time.Hour, 0, 0},
		} {
			d.clock.Advance(began.Add(c.after).Sub(d.clock.Now()))
			made, err := d.delegate(d.caller, func(x *auth.Delegation) { x.Lifetime = c.lifetime })
			if c.want == 0 {
				require.ErrorIs(t, err, auth.ErrTokenRejected, c)
				continue
			}
			require.NoError(t, err, c)
			require.Equal(t, c.want, made.Identity.ExpiresAt.Sub(made.Identity.IssuedAt), c)
			require.False(t, made.Identity.ExpiresAt.After(d.caller.ExpiresAt), c)
			d.requireOnlyFor(made.Bearer.Reveal(), audience)
		}
	})
	// The end is that of the caller's token too, if the session lasts longer, as an Identity that was
	// stored earlier could say.
	d := newDelegator(t)
	d.caller.ExpiresAt = d.caller.IssuedAt.Add(90 * time.Second)
	require.Equal(t, d.caller.ExpiresAt, d.mustDelegate().Identity.ExpiresAt)
	d.caller.ExpiresAt = d.caller.IssuedAt.Add(100 * time.Hour)
	d.clock.Advance(time.Hour)
	long := d.mustDelegate(func(x *auth.Delegation) { x.Lifetime = 100 * time.Hour })
	require.Equal(t, d.caller.IssuedAt.Add(12*time.Hour), long.Identity.ExpiresAt, "the session ends earlier")
	d.clock.Advance(-time.Hour - 20*time.Second) // the clock was set back
	early := d.mustDelegate(func(x *auth.Delegation) { x.Lifetime = 100 * time.Hour })
	d.requireOnlyFor(early.Bearer.Reveal(), audience)
	d.clock.Advance(500 * time.Millisecond)
	for _, end := range []time.Time{{}, d.clock.Now(), d.clock.Now().Truncate(time.Second)} {
		d.caller.ExpiresAt = end // a token would be valid for no whole second
		require.ErrorIs(t, errorOf(d.delegate(d.caller)), auth.ErrTokenRejected, end)
	}
}

func TestAnInvalidDelegationIsRefused(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		d.add(auth.User{ID: "person", IsActive: true})
		d.add(auth.User{ID: "disabled", IsService: true, Audiences: audience})
		d.add(auth.User{ID: "elsewhere", IsActive: true, IsService: true, Audiences: otherAudience})
		d.add(auth.User{ID: "longer", IsActive: true, IsService: true, Audiences: audience + "/"})
		d.add(auth.User{ID: "nowhere", IsActive: true, IsService: true})
		d.add(auth.User{ID: "everywhere", IsActive: true, IsService: true,
			Audiences: issuer + " https://evil.example.com"})
		for name, c := range map[string]struct {
			change func(*auth.Delegation)
			field  string // of an *auth.InvalidError
			want   error
		}{
			"no service user":             {func(x *auth.Delegation) { x.For = "" }, "for", nil},
			"an impossible ID":            {func(x *auth.Delegation) { x.For = "a\x00" }, "for", nil},
			"a long ID":                   {func(x *auth.Delegation) { x.For = strings.Repeat("x", 65) }, "for", nil},
			"an unknown service user":     {func(x *auth.Delegation) { x.For = "nobody" }, "", auth.ErrNotFound},
			"a disabled service user":     {func(x *auth.Delegation) { x.For = "disabled" }, "", auth.ErrUserDisabled},
			"a person":                    {func(x *auth.Delegation) { x.For = "person" }, "for", nil},
			"the caller":                  {func(x *auth.Delegation) { x.For = d.aliceID }, "for", nil},
			"a service user of another":   {func(x *auth.Delegation) { x.For = "elsewhere" }, "audience", nil},
			"a service user of a longer":  {func(x *auth.Delegation) { x.For = "longer" }, "audience", nil},
			"a service user of none":      {func(x *auth.Delegation) { x.For = "nowhere" }, "audience", nil},
			"an audience not in the list": {func(x *auth.Delegation) { x.Audience = otherAudience }, "audience", nil},
			"the issuer, which is listed": {func(x *auth.Delegation) { x.For, x.Audience = "everywhere", issuer }, "audience", nil},
			"an unknown audience that is listed": {func(x *auth.Delegation) {
				x.For, x.Audience = "everywhere", "https://evil.example.com"
			}, "audience", nil},
			"no audience":                   {func(x *auth.Delegation) { x.Audience = "" }, "audience", nil},
			"the issuer":                    {func(x *auth.Delegation) { x.Audience = issuer }, "audience", nil},
			"an unknown audience":           {func(x *auth.Delegation) { x.Audience = "https://evil.example.com" }, "audience", nil},
			"a prefix of an audience":       {func(x *auth.Delegation) { x.Audience = audience[:20] }, "audience", nil},
			"an audience in capitals":       {func(x *auth.Delegation) { x.Audience = strings.ToUpper(audience) }, "audience", nil},
			"two audiences":                 {func(x *auth.Delegation) { x.Audience += " " + otherAudience }, "audience", nil},
			"no scopes":                     {func(x *auth.Delegation) { x.Scopes = nil }, "scopes", nil},
			"an unknown scope":              {func(x *auth.Delegation) { x.Scopes = auth.NewScopes("reports:delete") }, "scopes", nil},
			"an impossible scope":           {func(x *auth.Delegation) { x.Scopes = auth.NewScopes("a b") }, "scopes", nil},
			"a scope of the library":        {func(x *auth.Delegation) { x.Scopes = auth.NewScopes(auth.ScopeKeys) }, "scopes", nil},
			"a scope of the library beside": {func(x *auth.Delegation) { x.Scopes = auth.NewScopes(reading, auth.ScopeSuperUser) }, "scopes", nil},
			"a negative lifetime":           {func(x *auth.Delegation) { x.Lifetime = -time.Second }, "lifetime", nil},
			"a fraction of a second":        {func(x *auth.Delegation) { x.Lifetime = 1500 * time.Millisecond }, "lifetime", nil},
			"a nanosecond":                  {func(x *auth.Delegation) { x.Lifetime = 1 }, "lifetime", nil},
		} {
			_, err := d.delegate(d.caller, c.change)
			if c.field != "" {
				requireInvalid(t, err, c.field)
				continue
			}
			require.ErrorIs(t, err, c.want, name)
		}
		require.NotContains(t, d.log.String(), "token.delegated")
		none := d.mustDelegate(func(x *auth.Delegation) { x.Scopes = auth.NewScopes() })
		require.True(t, none.Identity.Limited)
		identity := d.requireOnlyFor(none.Bearer.Reveal(), audience)
		require.False(t, identity.HasScope(reading), "nothing, not everything")
	})
}

func TestADelegatedTokenHasAtMostTheScopesOfTheCaller(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		_, reader := d.sign(auth.LoginOptions{Scopes: auth.NewScopes(reading, auth.ScopeSuperUser)})
		_, nothing := d.sign(auth.LoginOptions{Scopes: auth.NewScopes()})
		forged := reader // with more scopes than the session has
		forged.Scope = reading + " " + writing
		unlimited := reader
		unlimited.Limited, unlimited.Scope = false, ""
		narrowed := d.caller // with fewer scopes than the session has
		narrowed.Limited, narrowed.Scope = true, writing
		for name, c := range map[string]struct {
			caller  auth.Identity
			scopes  []string
			missing string
		}{
			"no limit":                            {d.caller, []string{reading, writing}, ""},
			"the same":                            {reader, []string{reading}, ""},
			"fewer":                               {reader, nil, ""},
			"another":                             {reader, []string{writing}, writing},
			"one more":                            {reader, []string{reading, writing}, writing},
			"a caller without scopes":             {nothing, []string{reading}, reading},
			"nothing for a caller without scopes": {nothing, nil, ""},
			"a forged identity":                   {forged, []string{writing}, writing},
			"a forged identity without a limit":   {unlimited, []string{writing}, writing},
			"an identity that was narrowed":       {narrowed, []string{reading}, reading},
			"within a narrowed identity":          {narrowed, []string{writing}, ""},
		} {
			made, err := d.delegate(c.caller, func(x *auth.Delegation) {
				x.Scopes = auth.NewScopes(c.scopes...)
			})
			if c.missing != "" {
				var insufficient *auth.InsufficientScopeError
				require.ErrorAs(t, err, &insufficient, name)
				require.Equal(t, c.missing, insufficient.Scope, name)
				continue
			}
			require.NoError(t, err, name)
			require.True(t, auth.NewScopes(c.scopes...).Equal(made.Identity.Scopes()), name)
		}
	})
}
