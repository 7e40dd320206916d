package oauth_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// deviceClients are the programs of the fixture.
var deviceClients = []oauth.DeviceClient{
	{ID: "cli", Name: "The command line", Scopes: []string{"reports:read", "reports:write"}},
	{ID: "tv", Name: "The television", Scopes: []string{"reports:read"}},
}

// devices is one or more instances of a service with devices, and the user ada.
type devices struct {
	*fixture
	clock   *authtest.Clock
	store   auth.Store
	log     authtest.Log
	keys    []auth.SigningKey
	sealing []auth.SymmetricKey
}

// newDevices returns a service over a store in memory.
func newDevices(t *testing.T, change ...func(*auth.Config)) *devices {
	t.Helper()
	return newDevicesOn(t, memstore.New(), change...)
}

func newDevicesOn(t *testing.T, store auth.Store, change ...func(*auth.Config)) *devices {
	t.Helper()
	key, err := auth.NewHS256Key("", authtest.Random(32))
	require.NoError(t, err)
	d := &devices{clock: authtest.NewClock(), store: store, keys: []auth.SigningKey{key},
		sealing: []auth.SymmetricKey{authtest.SymmetricKey(t, "s")}}
	d.fixture = d.another(t, store, change...)
	d.ada = d.register(auth.UserParams{Username: "ada"})
	return d
}

// another returns another instance of the service, over the given store. The issuer and the origin of all
// instances are those of the first.
func (d *devices) another(t *testing.T, store auth.Store, change ...func(*auth.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	origin := f.url
	if d.fixture != nil {
		origin, f.ada = d.svc.Tokens().Issuer(), d.ada
	}
	cfg := auth.Config{
		Issuer: origin, PublicURL: origin, SigningKeys: d.keys, SealingKeys: d.sealing,
		Proxies: auth.NoProxies(), Now: d.clock.Now, BrowserSessions: &auth.BrowserSessions{},
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read", "reports:write", "admin"}},
		Logger: slog.New(slog.NewTextHandler(&d.log, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	f.svc, err = auth.New(store, cfg)
	require.NoError(t, err)
	oauthServer, err := oauth.New(f.svc, oauth.Config{DeviceClients: deviceClients,
		DevicePage: origin + "/device"})
	require.NoError(t, err)
	f.svc.Mount(mux)
	f.svc.Mount(mux, auth.GroupBrowser)
	oauthServer.Mount(mux)
	return f
}

// begin asks for the codes of a device.
func (f *fixture) begin(pairs ...string) answer {
	f.t.Helper()
	form := url.Values{"client_id": {"cli"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return f.post("/auth/device", form)
}

// codes returns the codes of a new device.
func (f *fixture) codes(pairs ...string) (device, user string) {
	f.t.Helper()
	a := f.begin(pairs...)
	require.Equal(f.t, 200, a.status, a.text)
	return a.body["device_code"].(string), a.body["user_code"].(string)
}

// poll asks for the token of a device.
func (f *fixture) poll(code string, pairs ...string) answer {
	f.t.Helper()
	form := url.Values{"grant_type": {grantDevice}, "client_id": {"cli"}, "device_code": {code}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return f.post("/auth/token", form)
}

// browser is a browser in which a person has signed in.
type browser struct {
	f      *fixture
	cookie string
}

// signIn signs a person in at a browser.
func (f *fixture) signIn(pair auth.KeyPair) *browser {
	f.t.Helper()
	b := &browser{f: f}
	body, err := json.Marshal(map[string]string{"access_key": pair.AccessKey,
		"access_secret": pair.AccessSecret.Reveal()})
	require.NoError(f.t, err)
	r := b.request("/auth/browser/login", string(body))
	response, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer response.Body.Close()
	require.Equal(f.t, 204, response.StatusCode)
	b.cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
	require.NotEmpty(f.t, b.cookie)
	return b
}

// request returns a request of a page of the service.
func (b *browser) request(path, body string) *http.Request {
	b.f.t.Helper()
	r, err := http.NewRequestWithContext(b.f.t.Context(), http.MethodPost, b.f.url+path,
		strings.NewReader(body))
	require.NoError(b.f.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	return r
}

// call makes a call of the page, such as "lookup". Each element of the header is a name or a value, which
// replaces that of the page. An empty value removes the header.
func (b *browser) call(name, userCode string, header ...string) answer {
	b.f.t.Helper()
	body, err := json.Marshal(map[string]string{"user_code": userCode})
	require.NoError(b.f.t, err)
	r := b.request("/auth/device/"+name, string(body))
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	return b.f.answerOf(r)
}

// answerOf sends a request and reads the answer.
func (f *fixture) answerOf(r *http.Request) answer {
	f.t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer response.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	require.NoError(f.t, err)
	a := answer{status: response.StatusCode, header: response.Header, text: text.String()}
	require.Equal(f.t, "no-store", a.header.Get("Cache-Control"))
	require.Equal(f.t, "frame-ancestors 'none'", a.header.Get("Content-Security-Policy"))
	if text.Len() > 0 {
		require.NoError(f.t, json.Unmarshal(text.Bytes(), &a.body), a.text)
	}
	return a
}

// approve looks the code up and approves the device.
func (b *browser) approve(userCode string) {
	b.f.t.Helper()
	require.Equal(b.f.t, 200, b.call("lookup", userCode).status)
	require.Equal(b.f.t, 204, b.call("approve", userCode).status)
}

// deviceSessions returns the live sessions of ada that devices opened.
func (d *devices) deviceSessions(f *fixture) []auth.Session {
	f.t.Helper()
	all, err := d.store.ListSessions(f.t.Context(), d.ada.User.ID, d.clock.Now())
	require.NoError(f.t, err)
	var opened []auth.Session
	for _, session := range all {
		if session.Method == auth.MethodDevice {
			opened = append(opened, session)
		}
	}
	return opened
}

// interval is the time between two polls.
const interval = 5 * time.Second
