package console_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/memstore"
)

func TestThePageOfDevicesIsThereOnlyIfTheHostWantsIt(t *testing.T) {
	t.Parallel()
	for devices, status := range map[bool]int{true: http.StatusOK, false: http.StatusNotFound} {
		h := newHost(t, console.Config{Devices: devices})
		cookie := h.signIn(t, h.pair)
		response := h.get("/device?user_code=BCDF-GHJK", cookie)
		require.Equal(t, status, response.StatusCode)
		require.NotContains(t, body(t, h.get("/", cookie)), "/console/device", "people come from a device")
		if !devices {
			continue
		}
		html := body(t, response)
		require.Contains(t, html, "Sign in on a device")
		require.NotContains(t, html, "BCDF", "the script reads the code, and the person confirms it")
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		require.Contains(t, response.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	}
}

// The attack: a link to the page makes a stranger sign in, and sends the stranger elsewhere afterwards.
func TestSigningInAtAPageOfADeviceKeepsOnlyTheCode(t *testing.T) {
	t.Parallel()
	h := newGitHubHost(t)
	start := "/api/v1/auth/github/start?return_to="
	for query, want := range map[string]string{
		"":                            "%2fconsole%2fdevice",
		"?user_code=bcdfghjk":         "%2fconsole%2fdevice%3fuser_code%3dBCDF-GHJK",
		"?user_code=//evil.example":   "%2fconsole%2fdevice",
		"?user_code=BCDF-GHJK%22%3e":  "%2fconsole%2fdevice",
		"?x=y&user_code=BCDF%20GHJK":  "%2fconsole%2fdevice%3fuser_code%3dBCDF-GHJK",
		"?user_code=x&user_code=BCDF": "%2fconsole%2fdevice",
	} {
		require.Contains(t, body(t, h.get("/device"+query)), `href="`+start+want+`"`, query)
	}
	require.Contains(t, body(t, h.get("/keys?user_code=BCDFGHJK")), `href="`+start+`%2fconsole%2fkeys"`)
}

func TestThePageOfDevicesNeedsAServiceThatHasThem(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t)
	cfg.Tokens = auth.TokenConfig{}
	svc, err := auth.New(memstore.New(), cfg)
	require.NoError(t, err)
	_, err = console.Handler(svc, console.Config{Devices: true})
	require.ErrorContains(t, err, "console: Config.Devices: auth: TokenConfig.Scopes must be set")
}
