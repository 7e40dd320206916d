package oauth_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// The attack: a page of another origin, or a program with a stolen token, approves the attacker's device.
func TestOnlyAPageOfTheServiceApprovesADevice(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	_, userCode := d.codes()
	b := d.signIn(d.ada.Pair)
	bearer := "Bearer " + d.token(d.ada.Pair, auth.LoginOptions{})
	require.Equal(t, 200, b.call("lookup", userCode).status)
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"another site":          {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a sibling":             {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"no origin":             {[]string{"Sec-Fetch-Site", ""}, 403},
		"another origin":        {[]string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, 403},
		"a null origin":         {[]string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"no cookie":             {[]string{"Cookie", ""}, 401},
		"a token and no cookie": {[]string{"Cookie", "", "Authorization", bearer}, 403},
		"a token and a cookie":  {[]string{"Authorization", bearer}, 403},
		"a token and no page":   {[]string{"Cookie", "", "Sec-Fetch-Site", "", "Authorization", bearer}, 403},
		"a forged token":        {[]string{"Authorization", "Bearer x"}, 403},
		"a form":                {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
	} {
		for _, call := range []string{"lookup", "approve", "deny"} {
			a := b.call(call, userCode, test.header...)
			require.Equal(t, test.status, a.status, "%s: %s: %s", name, call, a.text)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT"} {
		r := b.request("/auth/device/approve", "")
		r.Method = method
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, 405, response.StatusCode)
		require.Equal(t, "POST", response.Header.Get("Allow"))
	}
	for body, status := range map[string]int{
		``: 422, `{`: 400, `null`: 400, `{}`: 422, `{"user_code": 1}`: 422, `{"user_code": ""}`: 422,
		`{"user_code": "BCDF-GHJK", "x": 1}`: 422, `{"user_code": "x", "user_code": "y"}`: 400,
		`{"user_code": "BCDFGHJA"}`: 404, `{"user_code": "` + strings.Repeat("B", 5000) + `"}`: 404,
		`{"user_code": "` + strings.Repeat("B", 9000) + `"}`: 413,
	} {
		a := d.answerOf(b.request("/auth/device/approve", body))
		require.Equal(t, status, a.status, "%.40s: %s", body, a.text)
	}
	require.Equal(t, 204, b.call("approve", userCode, "Sec-Fetch-Site", "", "Origin", d.url).status)
}

// The attack: whoever has a stolen cookie of an old session makes a lasting sign-in of it.
func TestOnlyARecentSessionApprovesADevice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reauthAfter, limit time.Duration
	}{"by default": {0, 10 * time.Minute}, "as configured": {3 * time.Minute, 3 * time.Minute}} {
		d := newDevices(t, func(cfg *auth.Config) { cfg.ReauthAfter = test.reauthAfter })
		b := d.signIn(d.ada.Pair)
		// The session is as old as whole seconds, and the clock has a fraction.
		d.clock.Advance(test.limit - time.Second)
		code, userCode := d.codes()
		_, unseen := d.codes()
		require.Equal(t, 200, b.call("lookup", userCode).status, name)
		d.clock.Advance(time.Second)
		for _, call := range []string{"lookup", "approve"} {
			a := b.call(call, userCode)
			require.Equal(t, 403, a.status, "%s: %s", name, call)
			require.Contains(t, a.text, "sign in again")
			require.Equal(t, a.text, b.call(call, unseen).text)
		}
		require.Equal(t, "authorization_pending", d.poll(code).code())
		require.Equal(t, 204, b.call("deny", userCode).status, "a session of any age can refuse")
		again := d.signIn(d.ada.Pair)
		require.Equal(t, 200, again.call("lookup", unseen).status)
	}
}

// The session becomes too old between the lookup and the decision. The person signs out and in again, and
// decides with the new session.
func TestAPersonWhoSignsOutAndInAgainTakesTheCodeAlong(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	mallory := d.register(auth.UserParams{Username: "mallory"})
	old := d.signIn(d.ada.Pair)
	d.clock.Advance(9 * time.Minute)
	code, userCode := d.codes()
	require.Equal(t, 200, old.call("lookup", userCode).status)
	d.clock.Advance(time.Minute)
	require.Equal(t, 403, old.call("approve", userCode).status)
	require.Equal(t, 200, d.answerOf(old.request("/auth/logout", "")).status)
	again, stranger := d.signIn(d.ada.Pair), d.signIn(mallory.Pair)
	require.Equal(t, 404, stranger.call("lookup", userCode).status)
	require.Equal(t, 404, again.call("approve", userCode).status, "the new session has not looked it up")
	require.Equal(t, 200, again.call("lookup", userCode).status)
	require.Equal(t, 404, d.signIn(d.ada.Pair).call("lookup", userCode).status, "the new one has it")
	require.Equal(t, 204, again.call("approve", userCode).status)
	require.Equal(t, 404, d.signIn(d.ada.Pair).call("lookup", userCode).status, "somebody has decided")
	require.Equal(t, 200, d.poll(code).status)
}

// The attack: whoever has one of a person's sessions keeps the person from deciding, by taking the code away
// again and again.
func TestNoSessionTakesACodeFromALiveOne(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	_, userCode := d.codes()
	first := d.signIn(d.ada.Pair)
	require.Equal(t, 200, first.call("lookup", userCode).status)
	d.clock.Advance(time.Second)
	second := d.signIn(d.ada.Pair) // after the device began, and after the claim
	for range 2 {
		require.Equal(t, 404, second.call("lookup", userCode).status)
		require.Equal(t, 200, first.call("lookup", userCode).status)
	}
	require.Equal(t, 204, first.call("approve", userCode).status)
}

// The attack: a guest of the same browser, or another user, decides about a device that somebody looked up.
func TestOnlyTheSessionThatLookedUpACodeDecides(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	mallory := d.register(auth.UserParams{Username: "mallory"})
	code, userCode := d.codes()
	first, second, other := d.signIn(d.ada.Pair), d.signIn(d.ada.Pair), d.signIn(mallory.Pair)
	for _, b := range []*browser{first, second, other} {
		require.Equal(t, 404, b.call("approve", userCode).status, "nobody has looked it up")
	}
	require.Equal(t, 200, first.call("lookup", userCode).status)
	for _, b := range []*browser{second, other} {
		wrong := b.call("lookup", "BCDF-GHJK")
		require.Equal(t, 404, wrong.status)
		for _, call := range []string{"lookup", "approve", "deny"} {
			a := b.call(call, userCode)
			require.Equal(t, wrong.text, a.text, "a claimed code looks like a wrong one")
			require.Equal(t, 404, a.status)
		}
	}
	require.Equal(t, 204, first.call("approve", userCode).status)
	require.Equal(t, 200, d.poll(code).status)
	require.Equal(t, d.ada.User.ID, d.deviceSessions(d.fixture)[0].UserID)
}

// The attack: a person guesses the user codes of other people.
func TestGuessesOfUserCodesAreLimitedForEachUser(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	_, userCode := d.codes()
	b := d.signIn(d.ada.Pair)
	for i := range 10 {
		require.Equal(t, 404, b.call("lookup", "BCDF-GHJ"+string("KLMNPQRSTV"[i])).status)
	}
	for _, next := range []*browser{b, d.signIn(d.ada.Pair)} { // another session does not help
		a := next.call("lookup", userCode)
		require.Equal(t, 429, a.status, "even the right code")
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, wait)
	}
	other := d.register(auth.UserParams{Username: "grace"})
	require.Equal(t, 200, d.signIn(other.Pair).call("lookup", userCode).status)
}

// The attack: one address sends many requests for codes, or with codes that do not exist. This limit holds
// before those of each call.
func TestAFloodIsRefusedAtTheCallsOfDevices(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(d *devices) answer{
		"codes": func(d *devices) answer { return d.begin() },
		"polls": func(d *devices) answer { return d.poll("x") },
	} {
		d := newDevices(t, func(cfg *auth.Config) {
			cfg.Throttling.Flood = []limit.Rate{{Count: 5, Per: time.Minute}}
		})
		for range 5 {
			require.NotEqual(t, 429, call(d).status, name)
		}
		require.Equal(t, 429, call(d).status, name)
	}
}

// The attack: a device polls in a loop. After slow_down, the store is not asked for five seconds.
func TestAFloodOfPollsDoesNotReachTheStore(t *testing.T) {
	t.Parallel()
	asked := 0
	store := authtest.FaultyStore(memstore.New(), func(method string) error {
		if method == "PollDevice" {
			asked++
		}
		return nil
	})
	d := newDevicesOn(t, store)
	code, _ := d.codes()
	for range 100 {
		a := d.poll(code)
		require.Contains(t, []string{"authorization_pending", "slow_down"}, a.code())
		require.Equal(t, 400, a.status)
	}
	require.Equal(t, 2, asked)
	d.clock.Advance(interval)
	require.Equal(t, "slow_down", d.poll(code).code())
	require.Equal(t, 3, asked)
}

// The attack: the approving session is revoked, but its approval lives on.
func TestAnApprovalOfARevokedSessionOpensNothing(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(d *devices, b *browser){
		"signed out": func(d *devices, b *browser) {
			require.Equal(t, 200, d.answerOf(b.request("/auth/logout", "")).status)
		},
		"all sessions revoked": func(d *devices, _ *browser) {
			_, err := d.svc.Tokens().RevokeUser(t.Context(), byHost, d.ada.User.ID)
			require.NoError(t, err)
		},
		"disabled": func(d *devices, _ *browser) {
			_, err := d.svc.UpdateUser(t.Context(), byHost, d.ada.User.ID,
				auth.UserChange{IsActive: new(false)})
			require.NoError(t, err)
		},
		"deleted": func(d *devices, _ *browser) {
			require.NoError(t, d.svc.DeleteUser(t.Context(), byHost, d.ada.User.ID))
		},
		"the key revoked": func(d *devices, _ *browser) {
			require.NoError(t, d.svc.Credentials().Revoke(t.Context(), byHost, d.ada.Pair.AccessKey))
		},
		"everybody revoked": func(d *devices, _ *browser) {
			require.NoError(t, d.svc.RevokeEverybody(t.Context(), byHost))
		},
	} {
		d := newDevices(t)
		code, userCode := d.codes()
		b := d.signIn(d.ada.Pair)
		b.approve(userCode)
		revoke(d, b)
		for range 2 {
			a := d.poll(code)
			require.Equal(t, 400, a.status, "%s: %s", name, a.text)
			require.Equal(t, "invalid_grant", a.code(), name)
			d.clock.Advance(interval)
		}
		require.Empty(t, d.deviceSessions(d.fixture), name)
	}
}

// The attack: the token of a device outlives the revocation of the user, or of the key with which the person
// had signed in.
func TestTheTokenOfADeviceIsRevokedWithItsUserAndItsKey(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(d *devices) error{
		"the user": func(d *devices) error {
			_, err := d.svc.Tokens().RevokeUser(t.Context(), byHost, d.ada.User.ID)
			return err
		},
		"the key": func(d *devices) error {
			return d.svc.Credentials().Revoke(t.Context(), byHost, d.ada.Pair.AccessKey)
		},
	} {
		d := newDevices(t)
		code, userCode := d.codes()
		d.signIn(d.ada.Pair).approve(userCode)
		token := d.poll(code).body["access_token"].(string)
		_, err := d.svc.Tokens().Verify(t.Context(), token)
		require.NoError(t, err)
		require.NoError(t, revoke(d), name)
		_, err = d.svc.Tokens().Verify(t.Context(), token)
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)
	}
}

// The attack: a person whose key may do little gives a device more.
func TestADeviceGetsNoMoreThanThePersonMayGive(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	code, userCode := d.codes() // reports:read and reports:write
	b := d.signIn(d.key(d.ada.User, auth.NewScopes("reports:read", "admin")))
	require.Equal(t, []any{"reports:read"}, b.call("lookup", userCode).body["scopes"])
	require.Equal(t, 204, b.call("approve", userCode).status)
	require.Equal(t, "reports:read", d.poll(code).body["scope"])

	_, userCode = d.codes()
	b = d.signIn(d.key(d.ada.User, auth.NewScopes("admin")))
	require.Equal(t, 403, b.call("lookup", userCode).status)
	require.Equal(t, 404, b.call("approve", userCode).status)

	first, err := d.svc.Credentials().Issue(t.Context(), byHost, d.ada.User.ID,
		auth.KeyOptions{MustRotate: true})
	require.NoError(t, err)
	for _, name := range []string{"lookup", "approve", "deny"} {
		require.Equal(t, 403, d.signIn(first).call(name, userCode).status, "a key that must be rotated")
	}
}

// The attack: codes end up in the log, or an outage becomes an answer about a code.
func TestAnOutageDuringTheDeviceGrantIsNoAnswerAboutACode(t *testing.T) {
	t.Parallel()
	away := ""
	store := authtest.FaultyStore(memstore.New(), func(method string) error {
		if method == away {
			return errors.New("the disk is full")
		}
		return nil
	})
	d := newDevicesOn(t, store)
	code, userCode := d.codes()
	b := d.signIn(d.ada.Pair)
	for method, call := range map[string]func() answer{
		"CreateDevice":  func() answer { return d.begin() },
		"ClaimDevice":   func() answer { return b.call("lookup", userCode) },
		"ApproveDevice": func() answer { return b.call("approve", userCode) },
		"DenyDevice":    func() answer { return b.call("deny", userCode) },
		"PollDevice":    func() answer { return d.poll(code) },
	} {
		away = method
		a := call()
		require.Equal(t, 503, a.status, "%s: %s", method, a.text)
		require.NotContains(t, a.text, "disk")
	}
	away = ""
	b.approve(userCode)
	away = "RedeemDevice"
	require.Equal(t, 503, d.poll(code).status)
	away = ""
	require.Equal(t, 200, d.poll(code).status, "the code was not used up")
	require.Contains(t, d.log.String(), "the disk is full")
	require.NotContains(t, d.log.String(), code)
	require.NotContains(t, d.log.String(), userCode)
	require.NotContains(t, d.log.String(), strings.ReplaceAll(userCode, "-", ""))
}

// The attack: a clock that was ahead by a day made a code, which works for a day.
func TestAClockThatGoesBackDoesNotKeepCodesAlive(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	d.clock.Advance(24 * time.Hour)
	code, userCode := d.codes()
	d.clock.Advance(-24 * time.Hour)
	b := d.signIn(d.ada.Pair)
	require.Equal(t, 404, b.call("lookup", userCode).status)
	require.Equal(t, "expired_token", d.poll(code).code())

	code, userCode = d.codes()
	require.Equal(t, "authorization_pending", d.poll(code).code())
	d.clock.Advance(-3 * time.Second)
	require.Equal(t, "authorization_pending", d.poll(code).code(), "the device cannot help it")
	b.approve(userCode)
	require.Equal(t, 200, d.poll(code).status)
}
