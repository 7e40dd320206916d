package wiretest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// A service user must not prolong its access: a delegated token makes no further tokens.
func TestADelegatedTokenIsNotDelegatedAgain(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		d.add(auth.User{
			ID: "other", IsActive: true, IsService: true, Audiences: otherAudience + " " + audience,
		})
		made := d.mustDelegate()
		verified, err := d.svc.Tokens().VerifyFor(t.Context(), audience, made.Bearer.Reveal())
		require.NoError(t, err)
		elsewhere, err := d.svc.SignIn(t.Context(), d.aliceID, auth.LoginOptions{Audience: audience})
		require.NoError(t, err)
		for2, err := d.svc.Tokens().VerifyFor(t.Context(), audience, elsewhere.Bearer.Reveal())
		require.NoError(t, err)
		hidden := for2 // as if a host had put its own issuer into the identity
		hidden.Audience = issuer
		actor := d.caller
		actor.Actor = d.agent
		empty := d.caller
		empty.Audience = ""
		for name, caller := range map[string]auth.Identity{
			"the delegated token":            verified,
			"the identity of its making":     made.Identity,
			"a token for another service":    for2,
			"a token of the issuer's":        actor,
			"an identity without audience":   empty,
			"the zero identity":              {},
			"an audience in other spelling":  {SessionID: d.caller.SessionID, Audience: issuer + "/"},
			"an actor, and no other content": {Actor: d.agent, Audience: issuer},
		} {
			for _, to := range []string{"other", d.agent} {
				_, err := d.delegate(caller, func(x *auth.Delegation) { x.For = to })
				require.ErrorIs(t, err, auth.ErrDelegated, name)
				status, _ := auth.ErrorStatus(err)
				require.Equal(t, http.StatusForbidden, status)
			}
		}
		_, err = d.delegate(hidden)
		require.ErrorIs(t, err, auth.ErrTokenRejected, "the store says for which service the session is")
	})
}

func TestADelegatedTokenIsRejectedByTheCallsOfTheIssuer(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		made := d.mustDelegate()
		token := made.Bearer.Reveal()
		want := d.sendAs(d.bearer+"x", http.MethodGet, "/auth/user", "")
		require.Equal(t, http.StatusUnauthorized, want.status)
		for range 2 {
			for _, call := range []string{"GET /auth/user", "POST /auth/logout", "GET /auth/keys",
				"POST /auth/keys", "GET /auth/sessions", "DELETE /auth/sessions/" + d.caller.SessionID} {
				method, path, _ := strings.Cut(call, " ")
				got := d.sendAs(token, method, path, "")
				require.Equal(t, want.status, got.status, call)
				require.Equal(t, want.body, got.body, call)
				require.Equal(t, want.header.Values("WWW-Authenticate"),
					got.header.Values("WWW-Authenticate"), call)
			}
			served := 0
			got := send(d.svc.RequireScope(reading, reached(&served)), http.MethodGet, "/", "",
				"Authorization", "Bearer "+token)
			require.Equal(t, want.body, got.body)
			require.Zero(t, served)
			_, err := d.svc.Tokens().VerifyFor(t.Context(), audience, token) // in the cache from now on
			require.NoError(t, err)
		}
		// It does not sign its user out either.
		require.ErrorIs(t, d.svc.Tokens().RevokeToken(t.Context(), token), auth.ErrDelegated)
		require.Equal(t, http.StatusOK, d.sendAs(d.bearer, http.MethodGet, "/auth/sessions", "").status)
	})
}

// A host may pass the authority of a delegated token to a method, by mistake. The session is live, so only
// the actor shows that this is not the user.
func TestTheAuthorityOfADelegatedTokenChangesNothing(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		by := d.mustDelegate().Identity.Authority()
		require.Equal(t, d.agent, by.Actor)
		ctx := t.Context()
		pair, err := d.svc.Credentials().Issue(ctx, authtest.ByHost, d.aliceID, auth.KeyOptions{})
		require.NoError(t, err)
		for name, call := range map[string]func(by auth.Authority) error{
			"Issue": func(by auth.Authority) error {
				return errorOf(d.svc.Credentials().Issue(ctx, by, d.aliceID, auth.KeyOptions{}))
			},
			"Rotate": func(by auth.Authority) error {
				return errorOf(d.svc.Credentials().Rotate(ctx, by, pair.AccessKey, 0))
			},
			"SetScopes": func(by auth.Authority) error {
				return d.svc.Credentials().SetScopes(ctx, by, pair.AccessKey, nil)
			},
			"Revoke": func(by auth.Authority) error { return d.svc.Credentials().Revoke(ctx, by, pair.AccessKey) },
			"Revoke a session": func(by auth.Authority) error {
				return d.svc.Tokens().Revoke(ctx, by, d.caller.SessionID)
			},
			"RevokeUser": func(by auth.Authority) error {
				return errorOf(d.svc.Tokens().RevokeUser(ctx, by, d.aliceID))
			},
		} {
			require.ErrorIs(t, call(by), auth.ErrDelegated, name)
		}
		require.Equal(t, http.StatusOK, d.sendAs(d.bearer, http.MethodGet, "/auth/user", "").status)
		require.NoError(t, errorOf(d.svc.Credentials().Issue(ctx, d.caller.Authority(), d.aliceID,
			auth.KeyOptions{})), "the control")
	})
}

// ends are the ways in which a session ends.
var ends = map[string]func(d *delegator, by *auth.Service) error{
	"sign-out": func(d *delegator, by *auth.Service) error {
		return by.Tokens().RevokeToken(d.t.Context(), d.bearer)
	},
	"the session is revoked": func(d *delegator, by *auth.Service) error {
		return by.Tokens().Revoke(d.t.Context(), authtest.ByHost, d.caller.SessionID)
	},
	"all sessions of the user are revoked": func(d *delegator, by *auth.Service) error {
		return errorOf(by.Tokens().RevokeUser(d.t.Context(), authtest.ByHost, d.aliceID))
	},
	"all sessions of all users are revoked": func(d *delegator, by *auth.Service) error {
		return by.RevokeEverybody(d.t.Context(), authtest.ByHost)
	},
	"the user is disabled": func(d *delegator, _ *auth.Service) error {
		d.disable(d.aliceID)
		return nil
	},
}

func TestADelegatedTokenDiesWithItsSession(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		everyDelegator(t, func(t *testing.T, d *delegator) {
			other := d.another()
			token := d.mustDelegate().Bearer.Reveal()
			for _, svc := range []*auth.Service{d.svc, other} {
				require.NoError(t, errorOf(svc.Tokens().VerifyFor(t.Context(), audience, token)))
			}
			require.NoError(t, end(d, d.svc), name)
			require.ErrorIs(t, errorOf(d.svc.Tokens().VerifyFor(t.Context(), audience, token)),
				auth.ErrTokenRejected, name)
			d.clock.Advance(6 * time.Second)
			require.ErrorIs(t, errorOf(other.Tokens().VerifyFor(t.Context(), audience, token)),
				auth.ErrTokenRejected, name)
			require.ErrorIs(t, errorOf(d.delegate(d.caller)), auth.ErrTokenRejected, name)
		})
	}
}

// The caller's token was verified, and the session ends before Delegate is called. This instance has not
// read the feed since.
func TestARevokedCallerGetsNoDelegatedToken(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		everyDelegator(t, func(t *testing.T, d *delegator) {
			other := d.another()
			require.NoError(t, errorOf(d.svc.Tokens().Verify(t.Context(), d.bearer)))
			require.NoError(t, end(d, other), name)
			require.ErrorIs(t, errorOf(d.delegate(d.caller)), auth.ErrTokenRejected, name)
			require.NotContains(t, d.log.String(), "token.delegated")
		})
	}
}

// With users of the host, the host changes its table first and calls RevokeUser afterwards.
func TestAUserWhomTheHostHasDisabledGetsNoDelegatedToken(t *testing.T) {
	t.Parallel()
	table := newHostTable()
	f := newFixture(t, ownTable(table), twoAudiences)
	table.change("agent", func(u *auth.User) {
		*u = auth.User{ID: "agent", IsActive: true, IsService: true, Audiences: audience}
	})
	token, err := f.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
	require.NoError(t, err)
	caller, err := f.svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
	require.NoError(t, err)
	delegate := func() error {
		return errorOf(f.svc.Tokens().Delegate(t.Context(), caller,
			auth.Delegation{For: "agent", Audience: audience, Scopes: auth.NewScopes(reading)}))
	}
	require.NoError(t, delegate())
	for name, user := range map[string]func(*auth.User){
		"disabled": func(u *auth.User) { u.IsActive = false },
		"another":  func(u *auth.User) { u.ID = "u-boss" },
	} {
		before := table.users["u-alice"]
		table.change("u-alice", user)
		require.Error(t, delegate(), name)
		table.change("u-alice", func(u *auth.User) { *u = before })
	}
	table.change("u-alice", func(u *auth.User) { u.IsActive = false })
	require.ErrorIs(t, delegate(), auth.ErrTokenRejected)
	delete(table.users, "u-alice")
	require.ErrorIs(t, delegate(), auth.ErrTokenRejected)
}

// Session and user belong together: another user's session is no session of the caller.
func TestACallerCannotBorrowASession(t *testing.T) {
	t.Parallel()
	d := newDelegator(t)
	admin, err := d.svc.SignIn(t.Context(), d.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	borrowed := d.caller
	borrowed.SessionID = admin.Session.ID
	_, err = d.delegate(borrowed)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	borrowed = d.caller
	borrowed.UserID = d.admin.ID
	_, err = d.delegate(borrowed)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	borrowed.SessionID = "nothing"
	_, err = d.delegate(borrowed)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

// A failure is no yes, and it is not a rejected token either.
func TestAFailureGivesNoDelegatedToken(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failing, successes := "", 0 // the method that fails after so many calls
	fail := func(method string) error {
		mu.Lock()
		defer mu.Unlock()
		if method != failing {
			return nil
		}
		if successes--; successes < 0 {
			return authtest.ErrStoreAway
		}
		return nil
	}
	setFailing := func(method string, after int) {
		mu.Lock()
		defer mu.Unlock()
		failing, successes = method, after
	}
	claims := func(context.Context, auth.Session, auth.User) (map[string]any, error) { return nil, nil }
	d := newDelegator(t, withFaults(fail), func(_ *fixture, cfg *auth.Config) {
		cfg.Tokens.Claims = func(ctx context.Context, s auth.Session, u auth.User) (map[string]any, error) {
			return claims(ctx, s, u)
		}
	})
	for _, c := range []struct {
		method string
		after  int
	}{
		{"FindSession", 0}, {"ListRevocations", 0},
		{"FindUser", 0}, {"FindUser", 1}, // the first call reads the caller, the second the service user
	} {
		setFailing(c.method, c.after)
		_, err := d.delegate(d.caller)
		require.Error(t, err, c)
		require.NotErrorIs(t, err, auth.ErrTokenRejected, c)
		status, _ := auth.ErrorStatus(err)
		require.Equal(t, http.StatusServiceUnavailable, status, c)
	}
	setFailing("", 0)
	d.mustDelegate()
	claims = func(context.Context, auth.Session, auth.User) (map[string]any, error) {
		return nil, errors.New("the directory does not answer")
	}
	_, err := d.delegate(d.caller)
	require.ErrorContains(t, err, "the directory does not answer")
	claims = func(context.Context, auth.Session, auth.User) (map[string]any, error) { panic("broken") }
	_, err = d.delegate(d.caller)
	require.ErrorContains(t, err, "broken")
	require.Equal(t, http.StatusOK, d.sendAs(d.bearer, http.MethodGet, "/auth/user", "").status,
		"the caller's session stays")
	require.Equal(t, 1, strings.Count(d.log.String(), "auth: token.delegated"))
}

// A TokenIssuer may have a store that only keeps sessions.
func TestDelegateNeedsUsers(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	alone, err := auth.NewTokenIssuer(struct{ auth.SessionStore }{f.store}, issuer, []auth.SigningKey{f.Key},
		auth.TokenConfig{Now: f.clock.Now, Audiences: []string{audience}, Scopes: []string{reading}})
	require.NoError(t, err)
	caller, err := alone.Verify(t.Context(), f.token.Bearer.Reveal())
	require.NoError(t, err)
	usual := auth.Delegation{For: "agent", Audience: audience, Scopes: auth.NewScopes(reading)}
	_, err = alone.Delegate(t.Context(), caller, usual)
	require.ErrorContains(t, err, "whose store keeps users")

	// Without scopes or without audiences in the configuration, there is nothing to delegate.
	_, err = f.issuer.Delegate(t.Context(), caller, usual)
	requireInvalid(t, err, "scopes")
	none, err := auth.NewTokenIssuer(f.store, issuer, []auth.SigningKey{f.Key},
		auth.TokenConfig{Now: f.clock.Now, Audiences: []string{audience}})
	require.NoError(t, err)
	for _, scopes := range []*auth.ScopeSet{auth.NewScopes(reading), auth.NewScopes()} {
		usual.Scopes = scopes
		_, err = none.Delegate(t.Context(), caller, usual)
		requireInvalid(t, err, "scopes")
	}
}

func TestADelegationIsAnEvent(t *testing.T) {
	t.Parallel()
	got := new(authtest.EventRecord)
	d := newDelegator(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	pair := d.keyOf(d.user, auth.NewScopes(reading, writing))
	caller, err := d.svc.Tokens().Verify(t.Context(), d.open(pair).Bearer.Reveal())
	require.NoError(t, err)
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{RequestID: "r1"})
	made, err := d.svc.Tokens().Delegate(ctx, caller, d.usual())
	require.NoError(t, err)
	var events []auth.Event
	for _, e := range got.Deliver(t, d.svc) {
		if e.Kind == eventkind.TokenDelegated {
			events = append(events, e)
		}
	}
	require.Equal(t, []auth.Event{{
		Kind: eventkind.TokenDelegated, At: d.clock.Now().UTC(), UserID: d.user.ID, ActorID: d.agent,
		SessionID: caller.SessionID, AccessKey: pair.AccessKey,
		Reason: `for https://reports.example.com, with the scopes "reports:read"`,
		Client: auth.ClientInfo{RequestID: "r1"},
	}}, events)
	require.NotContains(t, d.log.String(), made.Bearer.Reveal())
}

// The other service follows the revocation feed. The token names the session in sid, and its jti is in no
// feed.
func TestAFollowingVerifierRejectsADelegatedTokenOfARevokedSession(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, hostScopes)
	agent, err := f.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "agent", IsService: true, Audiences: []string{audience}})
	require.NoError(t, err)
	signedIn, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	made, err := f.svc.Tokens().Delegate(t.Context(), f.identify(signedIn.Bearer.Reveal()), auth.Delegation{
		For: agent.User.ID, Audience: audience, Scopes: auth.NewScopes(reading)})
	require.NoError(t, err)
	delegated := auth.Token{Bearer: made.Bearer}
	f.require(accepted, delegated)

	f.setActive(agent.User, false)
	f.clock.Advance(interval + time.Second)
	f.require(accepted, delegated, "the session of the user is live")
	require.ErrorIs(t, errorOf(f.svc.Tokens().Delegate(t.Context(), f.identify(signedIn.Bearer.Reveal()),
		auth.Delegation{For: agent.User.ID, Audience: audience, Scopes: auth.NewScopes(reading)})),
		auth.ErrUserDisabled)

	require.NoError(t, f.svc.Tokens().Revoke(t.Context(), authtest.ByHost, signedIn.Session.ID))
	f.clock.Advance(interval + time.Second)
	f.require(rejected, delegated)
}

// A user who makes many delegated tokens causes as many events, and must not push out those of changes.
func TestManyDelegationsDropNoEventOfAChange(t *testing.T) {
	t.Parallel()
	got := new(authtest.EventRecord)
	d := newDelegator(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	for range 1100 {
		d.mustDelegate()
	}
	require.NoError(t, d.svc.Tokens().SetKeys([]auth.SigningKey{authtest.NewSigners(t)["EdDSA"].Key}))
	kinds := map[eventkind.Kind]int{}
	for _, e := range got.Deliver(t, d.svc) {
		kinds[e.Kind]++
	}
	require.Equal(t, 1, kinds[eventkind.SigningKeysReplaced])
	require.Less(t, kinds[eventkind.TokenDelegated], 1100)
}
