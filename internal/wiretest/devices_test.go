package wiretest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
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
