package wiretest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/storekit"
)

// decideAboutDevices approves a device and denies another on an instance with browser sessions. It returns
// the codes.
func decideAboutDevices(
	t *testing.T, g *githubFixture, onEvent func(auth.Event), by auth.Authority,
) (secrets []string) {
	t.Helper()
	svc, err := auth.New(g.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, Now: g.clock.Now,
		SealingKeys:     []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")},
		Tokens:          auth.TokenConfig{Scopes: []string{reading}},
		BrowserSessions: &auth.BrowserSessions{}, PublicURL: issuer,
		OnEvent: onEvent, Logger: slog.New(slog.DiscardHandler), Proxies: auth.NoProxies(),
	})
	require.NoError(t, err)
	for _, decide := range []func(context.Context, auth.Authority, string) (auth.DeviceAuthorization, error){
		svc.ApproveDevice, svc.DenyDevice,
	} {
		codes, err := svc.StartDevice(t.Context(), "cli", auth.NewScopes(reading))
		require.NoError(t, err)
		_, err = svc.ClaimDevice(t.Context(), by, codes.UserCode)
		require.NoError(t, err)
		_, err = decide(t.Context(), by, codes.UserCode)
		require.NoError(t, err)
		secrets = append(secrets, codes.DeviceCode.Reveal(), codes.UserCode)
	}
	return secrets
}

// The record says which session has approved the device. A store that passes another session, for example
// because it has read two records of different times, gives no session away.
func TestADeviceIsRedeemedOnlyWithTheSessionThatApprovedIt(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	approved := auth.DeviceAuthorization{
		CreatedAt: now, ExpiresAt: now.Add(time.Minute), Scopes: auth.NewScopes(reading),
		SessionID: "session", UserID: "ada", ApprovedAt: now,
	}
	approving := auth.Session{ID: "session", UserID: "ada", AccessKeyID: "key", Scopes: approved.Scopes}
	for name, change := range map[string]func(d *auth.DeviceAuthorization, s *auth.Session){
		"no approval":     func(d *auth.DeviceAuthorization, _ *auth.Session) { d.ApprovedAt = time.Time{} },
		"a denial, too":   func(d *auth.DeviceAuthorization, _ *auth.Session) { d.DeniedAt = now },
		"expired":         func(d *auth.DeviceAuthorization, _ *auth.Session) { d.ExpiresAt = now },
		"another session": func(_ *auth.DeviceAuthorization, s *auth.Session) { s.ID = "other" },
		"another user":    func(_ *auth.DeviceAuthorization, s *auth.Session) { s.UserID = "mallory" },
		"fewer scopes":    func(_ *auth.DeviceAuthorization, s *auth.Session) { s.Scopes = auth.NewScopes("x") },
	} {
		device, session := approved, approving
		change(&device, &session)
		_, err := storekit.RedeemDevice(device, storekit.Acting{Session: session, Now: now}, auth.Session{})
		require.ErrorIs(t, err, auth.ErrNotFound, name)
	}
	opened, err := storekit.RedeemDevice(approved, storekit.Acting{Session: approving, Now: now},
		auth.Session{ID: "new", Audience: "x"})
	require.NoError(t, err)
	require.Equal(t, auth.Session{ID: "new", UserID: "ada", AccessKeyID: "key", Method: auth.MethodDevice,
		Scopes: approved.Scopes}, opened)
}

func TestTheTimesOfADeviceAreLimited(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, test := range []struct {
		lifetime, interval time.Duration
		field              string
	}{
		{time.Hour, time.Hour, ""}, {time.Hour + 1, time.Second, "expires_at"}, {0, time.Second, "expires_at"},
		{time.Hour, time.Hour + 1, "interval"}, {time.Hour, 0, "interval"},
	} {
		err := auth.DeviceAuthorization{CodeHash: "code", UserCodeHash: "user code", ClientID: "cli",
			Scopes: auth.NewScopes(reading), CreatedAt: now, ExpiresAt: now.Add(test.lifetime),
			Interval: test.interval}.Validate()
		if test.field == "" {
			require.NoError(t, err)
			continue
		}
		invalid, ok := errors.AsType[*auth.InvalidError](err)
		require.True(t, ok, "%+v: %v", test, err)
		require.Equal(t, test.field, invalid.Field)
	}
}
