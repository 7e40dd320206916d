package oauthstate_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newSealer returns a seal.Cookies with a key of its own.
func newSealer(t testing.TB) seal.Cookies {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	sealer, err := seal.New([]seal.Key{{ID: "k", Bytes: key}}, "test")
	require.NoError(t, err)
	return seal.Cookies{Sealer: sealer}
}

// request returns a request for the callback with the cookies.
func request(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/callback", nil)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	return r
}

func expiresIn(d time.Duration) int64 { return now.Add(d).Unix() }

// begun begins a flow. It returns the state and its cookie.
func begun(
	t testing.TB, c oauthstate.Cookies, flow oauthstate.Flow, sent ...*http.Cookie,
) (string, *http.Cookie) {
	t.Helper()
	state := c.NewState(request(sent...))
	cookie, err := c.Bind(state, flow)
	require.NoError(t, err)
	return state, cookie
}

func TestABrowserThatWasGivenAStateHasItsFlow(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	for _, flow := range []oauthstate.Flow{
		{Verifier: "verifier", ExpiresAt: expiresIn(oauthstate.Lifetime)},
		{Verifier: "verifier", ExpiresAt: expiresIn(oauthstate.Lifetime), ReturnTo: "/settings?tab=github&x=<y>#z"},
		{Verifier: "verifier", ExpiresAt: expiresIn(1), UserID: "u", SessionID: "s", MaxAge: 1200, Bearer: true},
	} {
		flow.ExpiresAt = expiresIn(oauthstate.Lifetime)
		state, cookie := begun(t, c, flow)
		require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, state)
		require.False(t, oauthstate.IsUnbound(state))
		require.Regexp(t, `^__Host-auth_github_[0-3]$`, cookie.Name)
		require.Equal(t, 600, cookie.MaxAge)
		require.NotContains(t, cookie.Value, state)
		require.NotContains(t, cookie.Value, "verifier")

		got, ok := c.Flow(request(cookie, &http.Cookie{Name: "other", Value: "x"}), state, now)
		require.True(t, ok)
		require.Equal(t, flow, got)
	}
}

func TestAFlowEndsAtItsLastSecond(t *testing.T) {
	t.Parallel()
	s := newSealer(t)
	c := oauthstate.NewCookies(s)
	flow := oauthstate.Flow{Verifier: "v", ExpiresAt: expiresIn(oauthstate.Lifetime)}
	state, cookie := begun(t, c, flow)
	unbound := oauthstate.NewUnboundState(s.Sealer, flow)
	for after, want := range map[time.Duration]bool{
		0: true, oauthstate.Lifetime - 1: true, oauthstate.Lifetime: false, oauthstate.Lifetime + time.Hour: false,
	} {
		_, ok := c.Flow(request(cookie), state, now.Add(after))
		require.Equal(t, want, ok, "bound, after %s", after)
		_, ok = oauthstate.OpenUnboundState(s.Sealer, unbound, now.Add(after))
		require.Equal(t, want, ok, "unbound, after %s", after)
	}
	require.Equal(t, 2*time.Hour, oauthstate.UsedLifetime-oauthstate.Lifetime,
		"a used state is remembered for longer than it works")
}

func TestAFlowOfAnotherBrowserIsNone(t *testing.T) {
	t.Parallel()
	s := newSealer(t)
	c := oauthstate.NewCookies(s)
	flow := oauthstate.Flow{Verifier: "v", ExpiresAt: expiresIn(oauthstate.Lifetime)}
	state, cookie := begun(t, c, flow)
	// A state of the attacker, in the same slot as the victim's state.
	other, otherCookie := begun(t, c, flow)
	for otherCookie.Name != cookie.Name {
		other, otherCookie = begun(t, c, flow)
	}
	renamed := *cookie
	renamed.Name = cookie.Name[:len(cookie.Name)-1] + string('0'+(cookie.Name[len(cookie.Name)-1]-'0'+1)%4)
	bare := *cookie
	bare.Name = strings.TrimPrefix(cookie.Name, "__Host-") // a cookie that a sibling domain can set
	tampered := *cookie
	tampered.Value = tamper(cookie.Value)
	long := *cookie
	long.Value = strings.Repeat("x", 1025)
	foreign, err := oauthstate.NewCookies(newSealer(t)).Bind(state, flow)
	require.NoError(t, err)

	for name, test := range map[string]struct {
		state   string
		cookies []*http.Cookie
	}{
		"no cookie":               {state, nil},
		"the cookie of another":   {state, []*http.Cookie{otherCookie}},
		"the state of another":    {other, []*http.Cookie{cookie}},
		"two cookies of one name": {state, []*http.Cookie{cookie, otherCookie}},
		"the same cookie twice":   {state, []*http.Cookie{cookie, cookie}},
		"another slot":            {state, []*http.Cookie{&renamed}},
		"a name without prefix":   {state, []*http.Cookie{&bare}},
		"a tampered cookie":       {state, []*http.Cookie{&tampered}},
		"a cut cookie":            {state, []*http.Cookie{{Name: cookie.Name, Value: cookie.Value[:len(cookie.Value)-4]}}},
		"a long cookie":           {state, []*http.Cookie{&long}},
		"an empty cookie":         {state, []*http.Cookie{{Name: cookie.Name}}},
		"another key":             {state, []*http.Cookie{foreign}},
		"a tampered state":        {tamper(state), []*http.Cookie{cookie}},
		"a longer state":          {state + "x", []*http.Cookie{cookie}},
		"a long state":            {state + strings.Repeat("x", 1024), []*http.Cookie{cookie}},
		"no state":                {"", []*http.Cookie{cookie}},
	} {
		got, ok := c.Flow(request(test.cookies...), test.state, now)
		require.False(t, ok, name)
		require.Zero(t, got, name)
	}
	_, ok := c.Flow(request(cookie), state, now)
	require.True(t, ok)
}

// tamper changes a character in the middle of the text.
func tamper(text string) string {
	i := len(text) / 2
	changed := "A"
	if text[i] == 'A' {
		changed = "B"
	}
	return text[:i] + changed + text[i+1:]
}

func TestSealedBytesThatAreNoFlowAreNone(t *testing.T) {
	t.Parallel()
	s := newSealer(t)
	c := oauthstate.NewCookies(s)
	state, cookie := begun(t, c, oauthstate.Flow{})
	for _, text := range []string{``, `x`, `[]`, `null`, `{}`, `{"v":1}`, `{"v":"v"}`, `{"v":"v","e":"1"}`,
		`{"v":"v","e":1e300}`} {
		cookie.Value = s.SealText([]byte(text), state)
		_, ok := c.Flow(request(cookie), state, now)
		require.False(t, ok, text)
		_, ok = oauthstate.OpenUnboundState(s.Sealer, state+"."+cookie.Value, now)
		require.False(t, ok, text)
	}
}

func TestABrowserHasFourFlowsAtOnce(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	sent := []*http.Cookie{{Name: "other", Value: "x"},
		{Name: "auth_github_0", Value: "a name without prefix takes no slot"}}
	flows := map[string]oauthstate.Flow{}
	names := map[string]bool{}
	for i := range 4 {
		flow := oauthstate.Flow{Verifier: fmt.Sprint(i), ExpiresAt: expiresIn(oauthstate.Lifetime)}
		state, cookie := begun(t, c, flow, sent...)
		require.False(t, names[cookie.Name], "a free slot is taken first")
		names[cookie.Name] = true
		flows[state], sent = flow, append(sent, cookie)
	}
	for state, flow := range flows {
		got, ok := c.Flow(request(sent...), state, now)
		require.True(t, ok)
		require.Equal(t, flow, got)
	}
	_, fifth := begun(t, c, oauthstate.Flow{}, sent...)
	require.True(t, names[fifth.Name], "a fifth flow takes the place of another")
}

func TestClearRemovesTheCookieOfTheStateAlone(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	state, cookie := begun(t, c, oauthstate.Flow{})
	cleared := c.Clear(state)
	require.Equal(t, cookie.Name, cleared.Name)
	require.Empty(t, cleared.Value)
	require.Negative(t, cleared.MaxAge)
	require.Equal(t, "__Host-auth_github_0", c.Clear("").Name)
}

func TestClearAllRemovesTheCookiesThatTheBrowserSent(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	w := httptest.NewRecorder()
	c.ClearAll(w, request(&http.Cookie{Name: "other", Value: "x"},
		&http.Cookie{Name: "__Host-auth_github_4", Value: "x"}))
	require.Empty(t, w.Result().Cookies())

	w = httptest.NewRecorder()
	c.ClearAll(w, request(
		&http.Cookie{Name: "__Host-auth_github_0", Value: "x"},
		&http.Cookie{Name: "__Host-auth_github_3", Value: "x"}, &http.Cookie{Name: "__Host-auth_github_3",
			Value: "y"},
		&http.Cookie{Name: "auth_github_1", Value: "x"},
	))
	var names []string
	for _, cookie := range w.Result().Cookies() {
		require.Negative(t, cookie.MaxAge)
		names = append(names, cookie.Name)
	}
	require.Equal(t, []string{"__Host-auth_github_0", "__Host-auth_github_3"}, names)
}

// In JSON, each & of a path is six bytes, so a path that IsReturnTo accepts can be too long for a
// cookie.
func TestAFlowThatFitsIntoNoCookieIsRefused(t *testing.T) {
	t.Parallel()
	c := oauthstate.NewCookies(newSealer(t))
	state := c.NewState(request())
	for path, want := range map[string]error{
		"/" + strings.Repeat("x", 255): nil,
		"/" + strings.Repeat("&", 255): oauthstate.ErrTooLong,
	} {
		require.True(t, oauthstate.IsReturnTo(path))
		cookie, err := c.Bind(state, oauthstate.Flow{
			Verifier: strings.Repeat("v", 43), ExpiresAt: expiresIn(0), ReturnTo: path,
			UserID: strings.Repeat("u", 64), SessionID: strings.Repeat("s", 64), MaxAge: 1 << 40, Bearer: true,
		})
		require.Equal(t, want, err)
		require.Equal(t, want != nil, cookie == nil)
		if cookie != nil {
			require.LessOrEqual(t, len(cookie.Value), 1024)
		}
	}
}

func TestAnUnboundStateCarriesItsFlow(t *testing.T) {
	t.Parallel()
	s := newSealer(t)
	flow := oauthstate.Flow{Verifier: "verifier", ExpiresAt: expiresIn(oauthstate.Lifetime)}
	state := oauthstate.NewUnboundState(s.Sealer, flow)
	require.True(t, oauthstate.IsUnbound(state))
	require.LessOrEqual(t, len(state), 1024)
	require.NotContains(t, state, "verifier")
	require.NotEqual(t, state, oauthstate.NewUnboundState(s.Sealer, flow))
	got, ok := oauthstate.OpenUnboundState(s.Sealer, state, now)
	require.True(t, ok)
	require.Equal(t, flow, got)

	random, sealed, _ := strings.Cut(state, ".")
	otherRandom, _, _ := strings.Cut(oauthstate.NewUnboundState(s.Sealer, flow), ".")
	for name, state := range map[string]string{
		"nothing":              "",
		"a dot":                ".",
		"no sealed flow":       random + ".",
		"no random bits":       "." + sealed,
		"no dot":               random + sealed,
		"a second dot":         state + ".",
		"tampered":             tamper(state),
		"other random bits":    otherRandom + "." + sealed,
		"another key":          oauthstate.NewUnboundState(newSealer(t).Sealer, flow),
		"too long":             state + strings.Repeat("x", 1024),
		"expired":              oauthstate.NewUnboundState(s.Sealer, oauthstate.Flow{Verifier: "v", ExpiresAt: expiresIn(0)}),
		"a user who connects":  oauthstate.NewUnboundState(s.Sealer, oauthstate.Flow{Verifier: "v", ExpiresAt: flow.ExpiresAt, UserID: "u", SessionID: "s", Bearer: true}),
		"longer than a cookie": oauthstate.NewUnboundState(s.Sealer, oauthstate.Flow{Verifier: strings.Repeat("v", 1024), ExpiresAt: flow.ExpiresAt}),
	} {
		got, ok := oauthstate.OpenUnboundState(s.Sealer, state, now)
		require.False(t, ok, name)
		require.Zero(t, got, name)
	}
}

func TestAnUnboundStateIsNoBoundOne(t *testing.T) {
	t.Parallel()
	s := newSealer(t)
	c := oauthstate.NewCookies(s)
	flow := oauthstate.Flow{Verifier: "v", ExpiresAt: expiresIn(oauthstate.Lifetime)}
	unbound := oauthstate.NewUnboundState(s.Sealer, flow)
	_, sealed, _ := strings.Cut(unbound, ".")
	_, ok := c.Flow(request(&http.Cookie{Name: c.Clear(unbound).Name, Value: sealed}), unbound, now)
	require.False(t, ok)
}

func TestTheIDOfAStateIsItsDigest(t *testing.T) {
	t.Parallel()
	require.Equal(t, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0", oauthstate.ID("abc"))
	require.NotEqual(t, oauthstate.ID("abc"), oauthstate.ID("abd"))
}

// Browsers have flows of the old version while a new version is deployed.
func TestTheSealedFormOfAFlowStays(t *testing.T) {
	t.Parallel()
	for want, flow := range map[string]oauthstate.Flow{
		`{"v":"v","e":1}`: {Verifier: "v", ExpiresAt: 1},
		`{"v":"v","e":1,"r":"/r","u":"u","s":"s","a":2,"b":true}`: {
			Verifier: "v", ExpiresAt: 1, ReturnTo: "/r", UserID: "u", SessionID: "s", MaxAge: 2, Bearer: true},
	} {
		text, err := json.Marshal(flow)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
