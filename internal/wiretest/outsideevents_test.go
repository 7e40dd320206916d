package wiretest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// Two instances verify a token at the same time that GitHub has revoked. The other instance removes
// the token first; this one must still report it as revoked.
func TestATokenRevokedAtGitHubIsNeverReportedValid(t *testing.T) {
	t.Parallel()
	var hook func()
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
		g.fixture.injectFaults(func(method string) error {
			if method == "DeleteGitHubToken" && hook != nil {
				do := hook
				hook = nil
				do()
			}
			return nil
		})
	}})
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.fake.Revoke(octocat)
	other := g.instance()
	hook = func() { // the other instance is faster
		_, err := other.GitHub().Verify(t.Context(), g.user.ID)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
	answer := g.sendAs(token, http.MethodGet, verifyCall, "")
	require.Equal(t, http.StatusNotFound, answer.status,
		"GitHub has reported the token as revoked: %s", answer.body)
}

// The user connects again during the verification. The answer of GitHub was about the old token, so
// nothing is known about the new one.
func TestAnAnswerAboutAReplacedGitHubTokenDoesNotVouchForTheNewOne(t *testing.T) {
	t.Parallel()
	var hook func()
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
		g.fixture.injectFaults(func(method string) error {
			if method == "DeleteGitHubToken" && hook != nil {
				do := hook
				hook = nil
				do()
			}
			return nil
		})
	}})
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.fake.Revoke(octocat)
	hook = func() {
		require.Equal(t, http.StatusOK, g.browser().connect(token).status)
		g.fake.Revoke(octocat) // GitHub revokes the new token too
	}
	answer := g.sendAs(token, http.MethodGet, verifyCall, "")
	require.NotEqual(t, http.StatusOK, answer.status, "both tokens are revoked: %s", answer.body)
}

// GitHubConfig.SuperUsers promotes an existing user, which is a change of the user.
func TestAPromotionByGitHubSuperUsersIsLogged(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"with the trail": false, "without the trail": true} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			_, user, _ := g.signInOctocat()
			require.False(t, user.IsSuperUser)
			cfg := g.github
			cfg.SuperUsers = []int64{octocat}
			log := new(bytes.Buffer)
			svc, err := auth.New(g.store, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key},
				SealingKeys: g.sealing, GitHub: &cfg, Now: g.clock.Now,
				DisableAuditTrail: off, Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			require.NoError(t, err)
			g.server.Config.Handler = svc.Handler()
			_, user, _ = g.signInOctocat()
			require.True(t, user.IsSuperUser)
			require.Contains(t, log.String(), "user.changed", "the promotion is logged")
		})
	}
}

func TestAPromotionByGitHubSuperUsersIsDeliveredWithoutATrail(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.signInOctocat()
	cfg := g.github
	cfg.SuperUsers = []int64{octocat}
	var got recorded
	svc, err := auth.New(g.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, SealingKeys: g.sealing,
		GitHub: &cfg, Now: g.clock.Now,
		DisableAuditTrail: true, OnEvent: got.Add, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	g.server.Config.Handler = svc.Handler()
	_, user, _ := g.signInOctocat()
	require.True(t, user.IsSuperUser)
	var kinds []auth.EventKind
	for _, e := range got.deliver(t, svc) {
		kinds = append(kinds, e.Kind)
	}
	require.Contains(t, kinds, auth.EventUserChanged)
}

// Deleting a user blanks the address, user agent and request ID of the events that the user caused.
// For a user who signed up with GitHub, the sign-up is the first of them.
func TestDeletingAGitHubUserBlanksTheClientOfTheSignUpEvent(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		g := newGitHub(t, onStore(open(t)))
		b := g.browser()
		p := b.get(b.authURL(signInCall), "User-Agent", "octocat's own browser",
			"X-Request-Id", "octocats-request")
		require.Equal(t, http.StatusOK, p.status)
		link, err := g.link(octocat)
		require.NoError(t, err)
		require.NoError(t, g.svc.DeleteUser(t.Context(), authtest.ByHost, link.UserID))
		for _, e := range g.trail() {
			if e.UserID == link.UserID {
				require.Empty(t, e.Client.UserAgent, "%s by actor %q, host %q", e.Kind, e.ActorID, e.Host)
				require.False(t, e.Client.Address.IsValid(), e.Kind)
			}
		}
	})
}

// hubot signs in in octocat's browser, so hubot, not octocat, revokes octocat's session.
func TestReplacingASessionNamesTheNewUserAsActor(t *testing.T) {
	t.Parallel()
	var got recorded
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions, cfg.OnEvent = &auth.BrowserSessions{}, got.Add
	}})
	b := g.browser()
	b.signInByCookie("")
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	b.signInByCookie("")
	first, err := g.link(octocat)
	require.NoError(t, err)
	second, err := g.link(hubot)
	require.NoError(t, err)
	require.NotEqual(t, first.UserID, second.UserID)
	seen := false
	for _, e := range got.deliver(t, g.svc) {
		if e.Kind == auth.EventSessionRevoked {
			seen = true
			require.Equal(t, first.UserID, e.UserID)
			require.Equal(t, second.UserID, e.ActorID, "the user who signed in")
		}
	}
	require.True(t, seen)
}

func TestLogoutByTokenIsTheActorForTheCookiesSession(t *testing.T) {
	t.Parallel()
	var got recorded
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions, cfg.OnEvent = &auth.BrowserSessions{}, got.Add
	}})
	b := g.browser()
	b.signInByCookie("")
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", "Sec-Fetch-Site", "same-origin",
		"Authorization", "Bearer "+g.signIn(g.user)).status)
	for _, e := range got.deliver(t, g.svc) {
		if e.Kind == auth.EventSessionRevoked {
			require.Equal(t, g.user.ID, e.ActorID, "the session of user %s", e.UserID)
		}
	}
}

// Each class of events has its own share of the queue. Attack: without a trail, a user signs in and
// out in a loop to drop the events of changes.
func TestLogoutsDropNoChangeEvents(t *testing.T) {
	t.Parallel()
	var got recorded
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.DisableAuditTrail, cfg.Throttling.Off = got.Add, true, true
	})
	got.deliver(t, f.svc)
	for range 1100 {
		require.Equal(t, http.StatusOK,
			f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/logout", "").status)
	}
	require.Equal(t, http.StatusCreated, f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/keys", "").status)
	kinds := map[auth.EventKind]int{}
	for _, e := range got.deliver(t, f.svc) {
		kinds[e.Kind]++
	}
	require.Equal(t, 1, kinds[auth.EventKeyIssued], "%v", kinds)
}

// Only known callers cause access.refused events. Attack: requests without a caller push the
// refusals of known callers out of the queue.
func TestUnknownCallersCauseNoAccessRefusedEvents(t *testing.T) {
	t.Parallel()
	var got recorded
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent = got.Add
	}})
	got.deliver(t, g.svc)
	for range 600 {
		require.Equal(t, http.StatusForbidden,
			g.send(http.MethodGet, startCall, "", "Sec-Fetch-Site", "cross-site").status)
	}
	require.Equal(t, http.StatusForbidden,
		g.sendAs(g.signIn(g.user), http.MethodGet, "/auth/users", "").status)
	known, unknown := 0, 0
	for _, e := range got.deliver(t, g.svc) {
		if e.Kind == auth.EventAccessRefused && e.ActorID == "" {
			unknown++
		} else if e.Kind == auth.EventAccessRefused {
			known++
		}
	}
	require.Equal(t, 1, known,
		"the refusal of the known caller is lost; %d events of unknown callers", unknown)
}

// A failed sign-in leaves no user, link, session or token, and the token is revoked at GitHub. Here
// alice is linked, has disconnected GitHub, and is disabled during the sign-in.
func TestARejectedSignInLeavesNoGitHubTokenOfADisconnectedUser(t *testing.T) {
	t.Parallel()
	h := newHostedGitHub(t)
	token := h.browser().signIn()["token"].(string)
	require.Equal(t, http.StatusOK, h.sendAs(token, http.MethodPost, disconnectCall, "").status)
	require.Empty(t, h.fake.Tokens(octocat))
	_, err := h.svc.RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.NoError(t, err)
	b := h.browser()
	callback := h.callback(b)
	h.table.before(func(context.Context, string) error {
		disableInNextFindUser(t, &hosted{fixture: h.fixture, table: h.table})
		return nil
	})
	require.Equal(t, http.StatusForbidden, b.get(callback).status)
	h.requireNoAccess()
}

// The host's table fails at the second FindUser of the sign-in.
func TestASignInThatTheUserSourceFailsLeavesNoGitHubToken(t *testing.T) {
	t.Parallel()
	h := newHostedGitHub(t)
	token := h.browser().signIn()["token"].(string)
	require.Equal(t, http.StatusOK, h.sendAs(token, http.MethodPost, disconnectCall, "").status)
	_, err := h.svc.RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.NoError(t, err)
	b := h.browser()
	callback := h.callback(b)
	calls := 0
	h.table.before(func(context.Context, string) error {
		if calls++; calls > 1 {
			return errors.New("the table is away")
		}
		return nil
	})
	require.Equal(t, http.StatusServiceUnavailable, b.get(callback).status)
	h.table.before(nil)
	h.requireNoAccess()
}
