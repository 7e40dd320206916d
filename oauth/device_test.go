package oauth_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

func TestADeviceGetsATokenAfterThePersonHasApproved(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	a := d.begin("scope", "reports:read")
	require.Equal(t, 200, a.status, a.text)
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, a.body["device_code"])
	require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`, a.body["user_code"])
	require.Equal(t, d.url+"/device", a.body["verification_uri"])
	code, userCode := a.body["device_code"].(string), a.body["user_code"].(string)
	require.Equal(t, d.url+"/device?user_code="+userCode, a.body["verification_uri_complete"])
	require.EqualValues(t, 600, a.body["expires_in"])
	require.EqualValues(t, 5, a.body["interval"])

	require.Equal(t, "authorization_pending", d.poll(code).code())
	b := d.signIn(d.ada.Pair)
	shown := b.call("lookup", strings.ToLower(strings.ReplaceAll(userCode, "-", " ")))
	require.Equal(t, 200, shown.status, shown.text)
	require.Equal(t, "The command line", shown.body["client"])
	require.Equal(t, []any{"reports:read"}, shown.body["scopes"])
	require.Equal(t, "127.0.0.1", shown.body["ip"])
	require.Contains(t, shown.body["user_agent"], "Go-http-client")
	require.Equal(t, "2026-01-02T03:04:05.678901Z", shown.body["started_at"])
	require.Equal(t, "2026-01-02T03:14:05.678901Z", shown.body["expires_at"])
	require.Len(t, shown.body, 6)
	d.clock.Advance(interval)
	require.Equal(t, "authorization_pending", d.poll(code).code())
	approved := b.call("approve", userCode)
	require.Equal(t, 204, approved.status, approved.text)

	d.clock.Advance(interval)
	got := d.poll(code)
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, "Bearer", got.body["token_type"])
	require.EqualValues(t, 43200, got.body["expires_in"])
	require.Equal(t, "reports:read", got.body["scope"])
	require.Len(t, got.body, 4)
	identity, err := d.svc.Tokens().Verify(t.Context(), got.body["access_token"].(string))
	require.NoError(t, err)
	require.Equal(t, d.ada.User.ID, identity.UserID)
	require.True(t, identity.Limited)
	require.Equal(t, "reports:read", identity.Scope)

	sessions := d.deviceSessions(d.fixture)
	require.Len(t, sessions, 1)
	require.Equal(t, identity.SessionID, sessions[0].ID)
	d.clock.Advance(interval)
	again := d.poll(code)
	require.Equal(t, 400, again.status)
	require.Equal(t, "invalid_grant", again.code(), "a code is redeemed once")
}

func TestADeniedDeviceGetsNoToken(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	code, userCode := d.codes()
	b := d.signIn(d.ada.Pair)
	require.Equal(t, 404, b.call("deny", userCode).status, "not before the person has seen it")
	require.Equal(t, 200, b.call("lookup", userCode).status)
	require.Equal(t, 204, b.call("deny", userCode).status)
	for range 3 {
		a := d.poll(code)
		require.Equal(t, 400, a.status)
		require.Equal(t, "access_denied", a.code())
		d.clock.Advance(interval)
	}
	for _, name := range []string{"lookup", "approve", "deny"} {
		require.Equal(t, 404, b.call(name, userCode).status, name)
	}
	require.Empty(t, d.deviceSessions(d.fixture))
}

func TestCodesExpire(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	code, userCode := d.codes()
	approvedCode, approvedUserCode := d.codes()
	d.signIn(d.ada.Pair).approve(approvedUserCode)
	d.clock.Advance(10 * time.Minute)
	b := d.signIn(d.ada.Pair)
	require.Equal(t, 404, b.call("lookup", userCode).status)
	for _, expired := range []string{code, approvedCode} {
		a := d.poll(expired)
		require.Equal(t, 400, a.status)
		require.Equal(t, "expired_token", a.code())
	}
	require.Empty(t, d.deviceSessions(d.fixture))

	d.clock.Advance(10 * time.Minute)
	removed, err := d.svc.Prune(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, removed)
	require.Equal(t, "invalid_grant", d.poll(code).code())
}

func TestADeviceThatPollsTooOftenMustSlowDown(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	code, _ := d.codes()
	for i, step := range []struct {
		pause time.Duration
		want  string
	}{
		{0, "authorization_pending"}, {interval, "authorization_pending"}, {time.Second, "slow_down"},
		{interval, "slow_down"}, {15 * time.Second, "authorization_pending"},
	} {
		d.clock.Advance(step.pause)
		require.Equal(t, step.want, d.poll(code).code(), i)
	}
}

func TestRequestsOfDevicesThatAreNotValidAreRefused(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	code, _ := d.codes()
	grant := func(pairs ...string) url.Values {
		form := url.Values{"grant_type": {grantDevice}, "client_id": {"cli"}, "device_code": {code}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return form
	}
	cli, secret := url.Values{"client_id": {"cli"}}, url.Values{"client_id": {"cli"}, "client_secret": {"x"}}
	for name, test := range map[string]struct {
		path   string
		form   url.Values
		header []string
		status int
		code   string
	}{
		"no client":          {"/auth/device", url.Values{}, nil, 401, "invalid_client"},
		"an unknown client":  {"/auth/device", url.Values{"client_id": {"CLI"}}, nil, 401, "invalid_client"},
		"an access key":      {"/auth/device", client(d.ada.Pair), nil, 401, "invalid_client"},
		"a secret":           {"/auth/device", secret, nil, 401, "invalid_client"},
		"a header":           {"/auth/device", cli, []string{"Authorization", basic("cli", "")}, 401, "invalid_client"},
		"an unknown scope":   {"/auth/device", url.Values{"client_id": {"cli"}, "scope": {"x"}}, nil, 400, "invalid_scope"},
		"a scope too many":   {"/auth/device", url.Values{"client_id": {"tv"}, "scope": {"reports:write"}}, nil, 400, "invalid_scope"},
		"a scope of another": {"/auth/device", url.Values{"client_id": {"cli"}, "scope": {"admin"}}, nil, 400, "invalid_scope"},
		"the scope to rotate": {"/auth/device", url.Values{"client_id": {"cli"}, "scope": {"auth:rotate"}},
			nil, 400, "invalid_scope"},
		"another resource": {"/auth/device", url.Values{"client_id": {"cli"}, "resource": {reports}},
			nil, 400, "invalid_target"},
		"a code in the URL": {"/auth/token?device_code=x", grant(), nil, 400, "invalid_request"},
		"no code":           {"/auth/token", grant("device_code", ""), nil, 400, "invalid_request"},
		"an unknown code":   {"/auth/token", grant("device_code", "x"), nil, 400, "invalid_grant"},
		"a user code":       {"/auth/token", grant("device_code", "BCDF-GHJK"), nil, 400, "invalid_grant"},
		"a long code":       {"/auth/token", grant("device_code", strings.Repeat("x", 5000)), nil, 400, "invalid_grant"},
		"another client":    {"/auth/token", grant("client_id", "tv"), nil, 400, "invalid_grant"},
		"no client's code":  {"/auth/token", grant("client_id", "x"), nil, 401, "invalid_client"},
		"a code and a secret": {"/auth/token", grant("client_secret", "x"), nil, 401,
			"invalid_client"},
		"a code and a header": {"/auth/token", grant(), []string{"Authorization", basic("cli", "")}, 401,
			"invalid_client"},
	} {
		a := d.post(test.path, test.form, test.header...)
		require.Equal(t, test.status, a.status, "%s: %s", name, a.text)
		require.Equal(t, test.code, a.code(), "%s: %s", name, a.text)
		require.Equal(t, test.header != nil, a.header.Get("WWW-Authenticate") != "", name)
	}
	require.Equal(t, "authorization_pending", d.poll(code).code(), "none of these was a poll of the device")
}

// Another package than oauth can call the methods of the service, too.
func TestTheServiceChecksADeviceThatBegins(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	reading := auth.NewScopes("reports:read")
	for name, test := range map[string]struct {
		client string
		scopes *auth.ScopeSet
		field  string
	}{
		"no client":        {"", reading, "client_id"},
		"a long client":    {strings.Repeat("x", 65), reading, "client_id"},
		"no limit":         {"cli", nil, "scopes"},
		"an unknown scope": {"cli", auth.NewScopes("reports:read", "unknown"), "scopes"},
	} {
		_, err := d.svc.StartDevice(t.Context(), test.client, test.scopes)
		var invalid *auth.InvalidError
		require.ErrorAs(t, err, &invalid, name)
		require.Equal(t, test.field, invalid.Field, name)
	}
	_, err := newFixture(t).svc.StartDevice(t.Context(), "cli", reading)
	require.ErrorContains(t, err, "BrowserSessions must be set")

	// Only a session decides. A host has none, and its attempts count for no user.
	_, userCode := d.codes()
	for range 11 {
		for name, call := range map[string]func(context.Context, auth.Authority, string) (
			auth.DeviceAuthorization, error){
			"claim": d.svc.ClaimDevice, "approve": d.svc.ApproveDevice, "deny": d.svc.DenyDevice,
		} {
			_, err := call(t.Context(), byHost, userCode)
			var invalid *auth.InvalidError
			require.ErrorAs(t, err, &invalid, name)
			require.Equal(t, "authority", invalid.Field)
		}
	}
}

// otherStore is a store that creates another session for a device than storekit.RedeemDevice says.
type otherStore struct {
	*memstore.Store
	change func(*auth.Session)
}

func (s otherStore) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	session, user, err := s.Store.RedeemDevice(ctx, w, codeHash, session, limit)
	s.change(&session)
	return session, user, err
}

func TestASessionThatTheStoreMakesTooPowerfulGetsNoToken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*auth.Session){
		"no limit":         func(s *auth.Session) { s.Scopes = nil },
		"another method":   func(s *auth.Session) { s.Method = auth.MethodAccessKey },
		"another audience": func(s *auth.Session) { s.Audience = reports },
	} {
		d := newDevicesOn(t, otherStore{memstore.New(), change})
		code, userCode := d.codes()
		d.signIn(d.ada.Pair).approve(userCode)
		require.Equal(t, 503, d.poll(code).status, name)
		require.Empty(t, d.deviceSessions(d.fixture), name)
	}
}

func TestTheMetadataNamesDevicesOnlyIfThereAreAny(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	for _, test := range []struct {
		f     *fixture
		there bool
	}{{d.fixture, true}, {newFixture(t), false}} {
		r := (&browser{f: test.f}).request("/.well-known/oauth-authorization-server", "")
		r.Method = "GET"
		a := test.f.do(r)
		require.Equal(t, 200, a.status)
		grants := a.body["grant_types_supported"].([]any)
		methods := a.body["token_endpoint_auth_methods_supported"].([]any)
		require.Equal(t, test.there, slices.Contains(grants, any(grantDevice)))
		require.Equal(t, test.there, slices.Contains(methods, any("none")))
		if test.there {
			require.Equal(t, test.f.url+"/auth/device", a.body["device_authorization_endpoint"])
			continue
		}
		require.NotContains(t, a.body, "device_authorization_endpoint")
		require.Equal(t, "unsupported_grant_type", test.f.poll("x").code())
	}
}

func TestAConfigurationOfDevicesThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	valid := oauth.DeviceClient{ID: "cli", Name: "The command line", Scopes: []string{"reports:read"}}
	page := "https://example.com/device"
	for want, cfg := range map[string]oauth.Config{
		"DevicePage must be empty":     {DevicePage: page},
		"DevicePage must be the URL":   {DeviceClients: []oauth.DeviceClient{valid}},
		"https or on loopback":         {DeviceClients: []oauth.DeviceClient{valid}, DevicePage: "http://example.com/device"},
		"without a query":              {DeviceClients: []oauth.DeviceClient{valid}, DevicePage: page + "?x"},
		"must be the URL of a page":    {DeviceClients: []oauth.DeviceClient{valid}, DevicePage: "https://ada@example.com/device"},
		"[0].ID must be 1 to 64":       {DeviceClients: []oauth.DeviceClient{{}}, DevicePage: page},
		"[1].ID is in the list twice":  {DeviceClients: []oauth.DeviceClient{valid, valid}, DevicePage: page},
		"[0].Name must be 1 to 128":    {DeviceClients: []oauth.DeviceClient{{ID: "cli"}}, DevicePage: page},
		"[0].Scopes must have at":      {DeviceClients: []oauth.DeviceClient{{ID: "cli", Name: "x"}}, DevicePage: page},
		"[0].Scopes must be scopes":    {DeviceClients: []oauth.DeviceClient{{ID: "a", Name: "x", Scopes: []string{"unknown"}}}, DevicePage: page},
		"that a key can have: see":     {DeviceClients: []oauth.DeviceClient{{ID: "a", Name: "x", Scopes: []string{"auth:rotate"}}}, DevicePage: page},
		"hyphens, underscores and dot": {DeviceClients: []oauth.DeviceClient{{ID: "a b", Name: "x"}}, DevicePage: page},
	} {
		_, err := oauth.New(d.svc, cfg)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "oauth: Config.")
	}
	withBrowsers := func(cfg *auth.Config) {
		cfg.PublicURL, cfg.SealingKeys = cfg.Issuer, d.sealing
		cfg.BrowserSessions = &auth.BrowserSessions{}
	}
	without, err := auth.New(struct{ auth.Store }{memstore.New()}, auth.Config{
		Issuer: "https://example.com", SigningKeys: d.keys, Proxies: auth.NoProxies()})
	require.NoError(t, err)
	for want, service := range map[string]*auth.Service{
		"Config.BrowserSessions must be set": newFixture(t).svc,
		"TokenConfig.Scopes must be set": newFixture(t, withBrowsers, func(cfg *auth.Config) {
			cfg.Tokens.Scopes = nil
		}).svc,
		"store must be a DeviceStore": without,
	} {
		cfg := oauth.Config{DeviceClients: []oauth.DeviceClient{valid}, DevicePage: page}
		_, err := oauth.New(service, cfg)
		require.ErrorContains(t, err, want)
	}
}

// A client of golang.org/x/oauth2 that does not know how to authenticate first tries the header
// Authorization, and then the form. The service must not count both as polls.
func TestAStandardClientGetsAToken(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]oauth2.AuthStyle{
		"in the form": oauth2.AuthStyleInParams, "by trying": oauth2.AuthStyleAutoDetect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevices(t)
			cfg := oauth2.Config{ClientID: "cli", Scopes: []string{"reports:read"}, Endpoint: oauth2.Endpoint{
				DeviceAuthURL: d.url + "/auth/device", TokenURL: d.url + "/auth/token", AuthStyle: style}}
			codes, err := cfg.DeviceAuth(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 5, codes.Interval)
			require.Equal(t, d.url+"/device?user_code="+codes.UserCode, codes.VerificationURIComplete)
			d.signIn(d.ada.Pair).approve(codes.UserCode)
			codes.Interval = 1 // second, because the person has decided already
			token, err := cfg.DeviceAccessToken(t.Context(), codes)
			require.NoError(t, err)
			_, err = d.svc.Tokens().Verify(t.Context(), token.AccessToken)
			require.NoError(t, err)
		})
	}
}
