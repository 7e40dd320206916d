package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// signInWorkload signs in with an assertion that a verifier has accepted, and that can be used again.
func (f *fixture) signInWorkload(signIn auth.WorkloadSignIn) (auth.Token, error) {
	signIn.Reusable, signIn.ExpiresAt = true, f.clock.Now().Add(time.Minute)
	return f.signInOnce(signIn)
}

func (f *fixture) signInOnce(signIn auth.WorkloadSignIn) (auth.Token, error) {
	return f.svc.SignInWorkload(f.t.Context(),
		func(context.Context) (auth.WorkloadSignIn, error) { return signIn, nil })
}

func TestAWorkloadGetsASessionOfItsServiceUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Tokens.Lifetime, cfg.Tokens.Scopes = time.Hour, []string{"deploy"}
		cfg.Tokens.Audiences = []string{"https://reports.example.com"}
	})
	robot := f.registerService("robot").User
	for want, lifetime := range map[time.Duration]time.Duration{
		15 * time.Minute: 0, time.Second: time.Second, time.Hour: 24 * time.Hour,
	} {
		token, err := f.signInWorkload(auth.WorkloadSignIn{UserID: robot.ID, Lifetime: lifetime,
			Scopes: auth.NewScopes("auth:sessions", "deploy")})
		require.NoError(t, err)
		require.Equal(t, want, token.ExpiresIn())
		require.Equal(t, auth.MethodWorkload, token.Session.Method)
		require.Equal(t, "auth:sessions deploy", token.Session.Scopes.String())
		require.Contains(t, f.sendAs(token.Bearer.Reveal(), "GET", "/auth/sessions", "").body, `"workload"`)
	}
	const reports = "https://reports.example.com"
	token, err := f.signInWorkload(auth.WorkloadSignIn{UserID: robot.ID, Audience: reports})
	require.NoError(t, err)
	require.Equal(t, reports, token.Session.Audience)

	for field, signIn := range map[string]auth.WorkloadSignIn{
		"lifetime":     {UserID: robot.ID, Lifetime: -time.Second},
		"user_id":      {},
		"scopes":       {UserID: robot.ID, Scopes: auth.NewScopes("unknown")},
		"audience":     {UserID: robot.ID, Audience: "https://unknown.example.com"},
		"expires_at":   {UserID: robot.ID, AssertionID: "1", ExpiresAt: time.Date(9999, 12, 31, 23, 59, 0, 0, time.UTC)},
		"assertion_id": {UserID: robot.ID},
	} {
		if signIn.ExpiresAt.IsZero() {
			signIn.ExpiresAt = f.clock.Now().Add(time.Minute)
		}
		signIn.Reusable = field != "assertion_id" && field != "expires_at"
		_, err := f.signInOnce(signIn)
		invalid, ok := errors.AsType[*auth.InvalidError](err)
		require.True(t, ok, err)
		require.Equal(t, field, invalid.Field)
	}
	_, err = f.signInOnce(auth.WorkloadSignIn{UserID: robot.ID, Reusable: true,
		Lifetime: 1500 * time.Millisecond, ExpiresAt: f.clock.Now().Add(time.Minute)})
	require.ErrorIs(t, err, auth.ErrInvalid, "no whole seconds")
}

func TestAScopeThatDoesNotExistUsesUpNoAssertion(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.Scopes = []string{"deploy"} })
	signIn := auth.WorkloadSignIn{UserID: f.registerService("robot").User.ID,
		Issuer: "https://ci.example.com", AssertionID: "1", ExpiresAt: f.clock.Now().Add(time.Minute), Scopes: auth.NewScopes("unknown")}
	_, err := f.signInOnce(signIn)
	require.ErrorIs(t, err, auth.ErrInvalid)
	signIn.Scopes = auth.NewScopes("deploy")
	_, err = f.signInOnce(signIn)
	require.NoError(t, err)
}

// The attack: a request is held back until the store has forgotten that its assertion was used.
func TestAnAssertionThatExpiresWhileItIsVerifiedOpensNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	robot := f.registerService("robot").User
	for _, ends := range []time.Time{{}, f.clock.Now(), f.clock.Now().Add(-time.Hour)} {
		for _, reusable := range []bool{false, true} {
			_, err := f.signInOnce(auth.WorkloadSignIn{UserID: robot.ID, AssertionID: "1", Reusable: reusable,
				ExpiresAt: ends})
			require.ErrorIs(t, err, auth.ErrAssertionRejected)
			require.ErrorContains(t, err, "it has expired")
		}
	}
}

// The attack: an issuer that the host trusts less signs assertions with the IDs of another issuer's, so that
// those no longer open a session.
func TestAnIssuerUsesUpNoAssertionOfAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	robot := f.registerService("robot").User
	signIn := func(issuer, id string) error {
		_, err := f.signInOnce(auth.WorkloadSignIn{UserID: robot.ID, Issuer: issuer, AssertionID: id,
			ExpiresAt: f.clock.Now().Add(time.Minute)})
		return err
	}
	for _, assertion := range [][2]string{{"https://a", "1"}, {"https://a1", "1"}, {"https://a", "11"},
		{"https://a", "\x001"}, {"https://a\x00", "1"}, {"https://A", "1"}, {"", "https://a1"}} {
		require.NoError(t, signIn(assertion[0], assertion[1]), assertion)
		require.ErrorContains(t, signIn(assertion[0], assertion[1]), "it was used already")
	}
}

// The accident: a workload has the ID of a person. The sessions of the person must stay, although the person
// has as many as possible.
func TestAWorkloadTakesNoSessionFromAPerson(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.MaxSessions = 1 })
	token := f.signIn(f.user)
	_, err := f.signInWorkload(auth.WorkloadSignIn{UserID: f.user.ID})
	require.ErrorIs(t, err, auth.ErrAssertionRejected)
	require.ErrorContains(t, err, "not a service user")
	require.Equal(t, 200, f.sendAs(token, "GET", "/auth/user", "").status)

	// A host that composes the parts itself has the check of the issuer.
	_, err = f.svc.Tokens().Issue(t.Context(),
		auth.IssueParams{UserID: f.user.ID, Method: auth.MethodWorkload})
	require.ErrorIs(t, err, auth.ErrAssertionRejected)
	sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
	require.NoError(t, err)
	require.Empty(t, sessions, "Issue has taken the place of the oldest session, as its comment says")
}

// If the host keeps the users, the store knows nothing of a user, and the host's table decides.
func TestTheHostsTableSaysWhichWorkloadsSignIn(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	signIn := auth.WorkloadSignIn{UserID: "u-alice"}
	_, err := h.signInWorkload(signIn)
	require.ErrorContains(t, err, "not a service user")
	h.table.change("u-alice", func(u *auth.User) { u.IsService = true })
	token, err := h.signInWorkload(signIn)
	require.NoError(t, err)
	require.Equal(t, "u-alice", token.User.ID)
	h.table.setActive("u-alice", false)
	_, err = h.signInWorkload(signIn)
	require.ErrorContains(t, err, "the user is disabled")
	_, err = h.signInWorkload(auth.WorkloadSignIn{UserID: "u-gone"})
	require.ErrorContains(t, err, "no such user")
	status, detail := auth.ErrorStatus(err)
	require.Equal(t, 401, status)
	require.Equal(t, "Invalid, expired or used assertion: get another", detail)
}

// The user is disabled, or replaced by a person, at the worst moment: after the assertion was checked.
func TestAServiceUserWhoChangesDuringASignInGetsNoSession(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	h.table.change("u-alice", func(u *auth.User) { u.IsService = true })
	for _, change := range []func(*auth.User){
		func(u *auth.User) { u.IsActive = false },
		func(u *auth.User) { u.IsActive, u.IsService = true, false },
	} {
		finds := 0
		h.table.mu.Lock()
		h.table.find = func(context.Context, string) error {
			if finds++; finds == 2 {
				h.table.change("u-alice", change)
			}
			return nil
		}
		h.table.mu.Unlock()
		h.table.change("u-alice", func(u *auth.User) { u.IsActive, u.IsService = true, true })
		_, err := h.signInWorkload(auth.WorkloadSignIn{UserID: "u-alice"})
		require.ErrorIs(t, err, auth.ErrAssertionRejected)
		sessions, err := h.accounts.ListSessions(t.Context(), "u-alice", h.clock.Now())
		require.NoError(t, err)
		require.Empty(t, sessions)
	}
}

func TestTheEventOfAWorkloadSaysWhoItIs(t *testing.T) {
	t.Parallel()
	got := new(authtest.Record[auth.Event])
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	robot := f.registerService("robot").User
	authtest.DeliverEvents(t, f.svc)
	got.Take()
	signIn := auth.WorkloadSignIn{UserID: robot.ID, Issuer: "https://ci.example.com",
		Subject: "job\u202e" + strings.Repeat("x", 2000), AssertionID: "1",
		ExpiresAt: f.clock.Now().Add(time.Minute)}
	token, err := f.signInOnce(signIn)
	require.NoError(t, err)
	_, err = f.signInOnce(signIn)
	require.ErrorIs(t, err, auth.ErrAssertionRejected)
	_, err = f.svc.SignInWorkload(t.Context(), func(context.Context) (auth.WorkloadSignIn, error) {
		return auth.WorkloadSignIn{}, fmt.Errorf("%w: forged", auth.ErrAssertionRejected)
	})
	require.ErrorIs(t, err, auth.ErrAssertionRejected)
	_, err = f.svc.SignInWorkload(t.Context(),
		func(context.Context) (auth.WorkloadSignIn, error) { panic("broken") })
	require.ErrorContains(t, err, "panicked")
	authtest.DeliverEvents(t, f.svc)
	events := got.Take()
	require.Len(t, events, 4)
	require.Equal(t, eventkind.SignedIn, events[0].Kind)
	require.True(t, strings.HasPrefix(events[0].Reason, "https://ci.example.com, jobxxx"), events[0].Reason)
	require.True(t, strings.HasPrefix(events[1].Reason, "it was used already; https://ci.example.com, job"))
	require.Equal(t, "forged", events[2].Reason)
	for i, e := range events {
		require.Equal(t, auth.MethodWorkload, e.Method)
		require.LessOrEqual(t, len(e.Reason), 512)
		require.Equal(t, i > 0, e.Kind == eventkind.SignInRejected)
	}
	require.Equal(t, robot.ID, events[0].UserID)
	require.Equal(t, token.Session.ID, events[0].SessionID)
	require.Equal(t, robot.ID, events[1].UserID)
	require.Empty(t, events[2].UserID)
}

// A flood is refused before the assertion is verified. A right assertion is not refused because others from
// the same address were wrong. An assertion that cannot be verified counts as an attempt, and as no failure.
func TestOnlyAFloodKeepsARightAssertionOut(t *testing.T) {
	t.Parallel()
	const outages, failures, flood = 30, 20, 60
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Throttling.Flood = []limit.Rate{{Count: flood, Per: time.Minute}}
	})
	robot := f.registerService("robot").User
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr("192.0.2.7")})
	verified, problem := 0, errors.New("the issuer does not answer")
	try := func() error {
		_, err := f.svc.SignInWorkload(ctx, func(context.Context) (auth.WorkloadSignIn, error) {
			verified++
			return auth.WorkloadSignIn{UserID: robot.ID, Reusable: true, ExpiresAt: f.clock.Now().Add(1)},
				problem
		})
		return err
	}
	for range outages {
		require.ErrorIs(t, try(), problem)
	}
	problem = auth.ErrAssertionRejected
	for range failures {
		require.ErrorIs(t, try(), auth.ErrAssertionRejected)
	}
	throttled := new(auth.ThrottledError)
	require.ErrorAs(t, try(), &throttled)
	problem = nil
	for range flood - outages - failures - 1 {
		require.NoError(t, try())
	}
	require.Equal(t, flood, verified)
	require.ErrorAs(t, try(), &throttled)
	require.Equal(t, flood, verified, "the assertion is not looked at")
}
