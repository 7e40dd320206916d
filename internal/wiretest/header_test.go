package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func identify(f *fixture, lines ...string) (auth.Identity, error) {
	r, err := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	if err != nil {
		panic(err)
	}
	if lines != nil {
		r.Header["Authorization"] = lines
	}
	return f.svc.Identify(r)
}

func TestTheBearerSchemeIsCaseInsensitive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   "} {
		identity, err := identify(f, scheme+token)
		require.NoError(t, err, scheme)
		require.Equal(t, f.user.ID, identity.UserID)
	}
}

func TestInvalidAuthorizationHeadersAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for name, test := range map[string]struct {
		lines []string
		want  error
	}{
		"no header":                     {nil, auth.ErrTokenMissing},
		"an empty header":               {[]string{""}, auth.ErrTokenMissing},
		"Basic":                         {[]string{"Basic " + token}, auth.ErrTokenMissing},
		"Basic with the secret":         {[]string{"Basic YWs6YXM="}, auth.ErrTokenMissing},
		"Digest":                        {[]string{"Digest " + token}, auth.ErrTokenMissing},
		"no scheme":                     {[]string{token}, auth.ErrTokenMissing},
		"a scheme with that prefix":     {[]string{"BearerX " + token}, auth.ErrTokenMissing},
		"a colon":                       {[]string{"Bearer: " + token}, auth.ErrTokenMissing},
		"a tab":                         {[]string{"Bearer\t" + token}, auth.ErrTokenMissing},
		"a leading space":               {[]string{" Bearer " + token}, auth.ErrTokenMissing},
		"the scheme alone":              {[]string{"Bearer"}, auth.ErrTokenRejected},
		"the scheme and a space":        {[]string{"Bearer "}, auth.ErrTokenRejected},
		"a space and a tab":             {[]string{"Bearer \t" + token}, auth.ErrTokenRejected},
		"a trailing space":              {[]string{"Bearer " + token + " "}, auth.ErrTokenRejected},
		"two tokens":                    {[]string{"Bearer " + token + " " + token}, auth.ErrTokenRejected},
		"a list":                        {[]string{"Bearer " + token + ", Bearer " + token}, auth.ErrTokenRejected},
		"a list without space":          {[]string{"Bearer " + token + "," + token}, auth.ErrTokenRejected},
		"parameters":                    {[]string{"Bearer token=" + token}, auth.ErrTokenRejected},
		"quotes":                        {[]string{`Bearer "` + token + `"`}, auth.ErrTokenRejected},
		"the scheme twice":              {[]string{"Bearer Bearer " + token}, auth.ErrTokenRejected},
		"two lines, both good":          {[]string{"Bearer " + token, "Bearer " + token}, auth.ErrTokenRejected},
		"two lines, the first is good":  {[]string{"Bearer " + token, "Bearer x"}, auth.ErrTokenRejected},
		"two lines, the second is good": {[]string{"Basic x", "Bearer " + token}, auth.ErrTokenRejected},
		"two lines, one is empty":       {[]string{"Bearer " + token, ""}, auth.ErrTokenRejected},
		"a megabyte":                    {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, auth.ErrTokenRejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			identity, err := identify(f, test.lines...)
			require.ErrorIs(t, err, test.want)
			require.Zero(t, identity)
		})
	}
}

func TestTokensInQueriesFormsAndCookiesAreIgnored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for _, name := range []string{"access_token", "token", "bearer", "Authorization"} {
		require.Equal(t, http.StatusUnauthorized,
			f.send(http.MethodGet, "/auth/user?"+name+"="+token, "").status)
		require.Equal(t, http.StatusUnauthorized,
			f.send(http.MethodGet, "/auth/user", "", "Cookie", name+"="+token).status)
		require.Equal(t, http.StatusUnauthorized,
			f.send(http.MethodGet, "/auth/user", "", "X-"+name, token).status)
		form := url.Values{name: {token}}.Encode()
		r := f.send(http.MethodPost, "/auth/logout", form,
			"Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, http.StatusUnauthorized, r.status)
	}
}

func TestA401NamesInvalidTokenOnlyIfATokenWasSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	missing := f.send(http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, missing.status)
	require.Equal(t, []string{"Bearer"}, missing.header["Www-Authenticate"])
	require.JSONEq(t, `{"detail": "Authentication required: send a bearer token"}`, missing.body)

	rejected := f.sendAs("x", http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, rejected.status)
	require.Equal(t, []string{`Bearer error="invalid_token"`}, rejected.header["Www-Authenticate"])

	failed := f.login(auth.KeyPair{AccessKey: "x", AccessSecret: auth.NewSecret("y")})
	require.Equal(t, http.StatusUnauthorized, failed.status)
	require.Equal(t, []string{"Bearer"}, failed.header["Www-Authenticate"])
}

// The service identifies the caller only by the verified token.
func TestTheIdentityComesOnlyFromTheToken_CVE_2025_61928(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	r := f.send(http.MethodGet, "/auth/user?user_id="+f.admin.ID+"&sub="+f.admin.ID, "",
		"Authorization", "Bearer "+token, "X-User-Id", f.admin.ID,
		"X-Forwarded-User", "root", "X-Remote-User", "root")
	require.Equal(t, f.user.ID, r.json(t)["user_id"])

	body := `{"username":"eve","email":"eve@example.com","is_super_user":true,"user_id":"` +
		f.admin.ID + `","sub":"` + f.admin.ID + `"}`
	require.Equal(t, http.StatusForbidden,
		f.sendAs(token, http.MethodPost, "/api/v1/user/register", body).status)
}

// A request with a Cookie header of 200 KB must not fail, over a real HTTP/2 connection.
func TestLargeHeadersOverHTTP2DoNotFail(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	server := httptest.NewUnstartedServer(g.svc.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	cookies := ""
	for range 2990 {
		cookies += "__Host-auth_github_1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; "
	}
	for _, path := range []string{
		startCall, callbackCall + "?state=AAAA&code=x", "/auth/user", "/auth/logout",
	} {
		began := time.Now()
		for range 20 {
			method := "GET"
			if path == "/auth/logout" {
				method = "POST"
			}
			r, _ := http.NewRequest(method, server.URL+path, nil)
			r.Header.Set("Cookie", cookies)
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			}
			a, err := client.Do(r)
			require.NoError(t, err)
			a.Body.Close()
			require.Less(t, a.StatusCode, 500)
		}
		t.Log(path, time.Since(began)/20)
	}
}
