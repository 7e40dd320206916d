package wiretest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestLoginReturnsExactlyTheFourDocumentedFields(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		pair  auth.KeyPair
		super bool
	}{{f.userPair, false}, {f.adminPair, true}} {
		r := f.login(test.pair)
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, "application/json", r.header.Get("Content-Type"))
		require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		answer := r.json(t)
		token, _ := answer["token"].(string)
		require.Equal(t, 2, strings.Count(token, "."))
		require.Equal(t, map[string]any{
			"token": token, "token_type": "bearer", "expires_in": 43200.0, "is_super_user": test.super,
		}, answer)
		require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	}
}

// A secret that is pasted into a form or read from a file often has a line break at its end.
func TestWhiteSpaceAroundAGeneratedPairIsIgnored(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: "legacy", Secret: auth.NewSecret("correct horse\n")}))
	key, secret := f.userPair.AccessKey, f.userPair.AccessSecret.Reveal()
	for name, test := range map[string]struct {
		key, secret string
		status      int
	}{
		"a line break behind the secret":      {key, secret + "\n", http.StatusOK},
		"a Windows line break":                {key, secret + "\r\n", http.StatusOK},
		"white space around both":             {" \t" + key + "\n", "\n " + secret + "\t ", http.StatusOK},
		"a no-break space of a page":          {key, secret + "\u00a0", http.StatusOK},
		"a line break within the secret":      {key, secret[:30] + "\n" + secret[30:], http.StatusUnauthorized},
		"a secret cut off before its end":     {key, secret[:len(secret)-1] + "\n", http.StatusUnauthorized},
		"quotes around the secret":            {key, `"` + secret + `"`, http.StatusUnauthorized},
		"an imported secret with its space":   {"legacy", "correct horse\n", http.StatusOK},
		"an imported secret without its":      {"legacy", "correct horse", http.StatusUnauthorized},
		"an imported secret with more space":  {"legacy", "correct horse\n\n", http.StatusUnauthorized},
		"white space around an imported key":  {" legacy", "correct horse\n", http.StatusUnauthorized},
		"a generated secret, an imported key": {"legacy", secret + "\n", http.StatusUnauthorized},
	} {
		r := f.login(auth.KeyPair{AccessKey: test.key, AccessSecret: auth.NewSecret(test.secret)})
		require.Equal(t, test.status, r.status, name)
	}
	_, _, err := f.svc.Credentials().Verify(t.Context(),
		auth.KeyPair{AccessKey: key + "\n", AccessSecret: auth.NewSecret(secret + "\n")})
	require.NoError(t, err)
}

func TestExpiresInIsTheLifetimeOfTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.Lifetime = time.Hour })
	require.EqualValues(t, 3600, f.login(f.userPair).json(t)["expires_in"])
	pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{
		ExpiresAt: f.clock.Now().Add(10 * time.Minute),
	})
	require.NoError(t, err)
	require.EqualValues(t, 600, f.login(pair).json(t)["expires_in"])
}

func TestEveryFailedSignInGetsTheSame401(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	credentials := f.svc.Credentials()
	issue := func(options auth.KeyOptions) auth.KeyPair {
		pair, err := credentials.Issue(t.Context(), authtest.ByHost, f.user.ID, options)
		require.NoError(t, err)
		return pair
	}
	revoked := issue(auth.KeyOptions{})
	require.NoError(t, credentials.Revoke(t.Context(), authtest.ByHost, revoked.AccessKey))
	expired := issue(auth.KeyOptions{ExpiresAt: f.clock.Now().Add(time.Second)})
	f.clock.Advance(time.Second)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "disabled"})
	require.NoError(t, err)
	f.setActive(made.User, false)
	nobody := credentials.GeneratePair()
	secret := f.userPair.AccessSecret.Reveal()

	want := f.login(auth.KeyPair{AccessKey: "x", AccessSecret: auth.NewSecret("y")})
	require.Equal(t, http.StatusUnauthorized, want.status)
	require.JSONEq(t, `{"detail": "Invalid access key or secret"}`, want.body)
	for name, pair := range map[string]auth.KeyPair{
		"unknown key":             nobody,
		"wrong secret":            {AccessKey: f.userPair.AccessKey, AccessSecret: nobody.AccessSecret},
		"another user's secret":   {AccessKey: f.userPair.AccessKey, AccessSecret: f.adminPair.AccessSecret},
		"another user's key":      {AccessKey: f.adminPair.AccessKey, AccessSecret: f.userPair.AccessSecret},
		"revoked key":             revoked,
		"expired key":             expired,
		"disabled user":           made.Pair,
		"the key for the secret":  {AccessKey: f.userPair.AccessKey, AccessSecret: auth.NewSecret(f.userPair.AccessKey)},
		"the secret for the key":  {AccessKey: secret, AccessSecret: f.userPair.AccessSecret},
		"a key in upper case":     {AccessKey: strings.ToUpper(f.userPair.AccessKey), AccessSecret: f.userPair.AccessSecret},
		"a mistyped secret":       {AccessKey: f.userPair.AccessKey, AccessSecret: auth.NewSecret(flipCase(secret, len(secret)-10))},
		"a mistyped key":          {AccessKey: flipCase(f.userPair.AccessKey, 12), AccessSecret: f.userPair.AccessSecret},
		"a username":              {AccessKey: "alice", AccessSecret: auth.NewSecret("alice")},
		"SQL":                     {AccessKey: "' OR 1=1 --", AccessSecret: auth.NewSecret("' OR 1=1 --")},
		"5000 bytes":              {AccessKey: strings.Repeat("x", 3000), AccessSecret: auth.NewSecret(strings.Repeat("y", 2000))},
		"characters beyond ASCII": {AccessKey: "ключ", AccessSecret: auth.NewSecret("секрет")},
		"a prefix of the key":     {AccessKey: f.userPair.AccessKey[:20], AccessSecret: f.userPair.AccessSecret},
		"a prefix of the secret":  {AccessKey: f.userPair.AccessKey, AccessSecret: auth.NewSecret(secret[:40])},
	} {
		require.Equal(t, want, f.login(pair), name)
	}
	require.Equal(t, http.StatusOK, f.login(f.userPair).status, "the good pair still works")
}

// flipCase changes the character at index i.
func flipCase(s string, i int) string {
	b := []byte(s)
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func TestMalformedLoginBodiesAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := loginBody(f.userPair)
	key, secret := f.userPair.AccessKey, f.userPair.AccessSecret.Reveal()
	for name, test := range map[string]struct {
		body   string
		status int
	}{
		"only spaces":                 {" ", http.StatusBadRequest},
		"not JSON":                    {"access_key=" + key, http.StatusBadRequest},
		"null":                        {"null", http.StatusBadRequest},
		"a string":                    {`"x"`, http.StatusBadRequest},
		"an array":                    {"[" + good + "]", http.StatusBadRequest},
		"two objects":                 {good + good, http.StatusBadRequest},
		"trailing data":               {good + "x", http.StatusBadRequest},
		"a trailing NUL":              {good + "\x00", http.StatusBadRequest},
		"truncated":                   {good[:len(good)-1], http.StatusBadRequest},
		"a comment":                   {"/**/" + good, http.StatusBadRequest},
		"a byte order mark":           {"\ufeff" + good, http.StatusBadRequest},
		"a field twice":               {`{"access_key":"x",` + good[1:], http.StatusBadRequest},
		"an unknown field twice":      {`{"x":1,"x":2,` + good[1:], http.StatusBadRequest},
		"a field in upper case":       {strings.Replace(good, "access_key", "ACCESS_KEY", 1), http.StatusBadRequest},
		"upper case beside lower":     {`{"Access_Key":"x",` + good[1:], http.StatusBadRequest},
		"a field with a long s":       {strings.Replace(good, "access_key", `acce\u017f\u017f_key`, 1), http.StatusBadRequest},
		"a field with a Kelvin k":     {strings.Replace(good, "access_key", "access_\u212aey", 1), http.StatusBadRequest},
		"a null key":                  {`{"access_key":null,"access_secret":"x"}`, http.StatusBadRequest},
		"a null secret":               {`{"access_key":"x","access_secret":null}`, http.StatusBadRequest},
		"NUL in the secret":           {`{"access_key":"x","access_secret":"a\u0000b"}`, http.StatusBadRequest},
		"invalid UTF-8":               {"{\"access_key\":\"x\",\"access_secret\":\"\xff\"}", http.StatusBadRequest},
		"half a surrogate pair":       {`{"access_key":"x","access_secret":"\ud800"}`, http.StatusBadRequest},
		"nested too deeply":           {`{"x":` + strings.Repeat("[", 4000), http.StatusBadRequest},
		"no key":                      {`{"access_secret":"x"}`, http.StatusUnprocessableEntity},
		"no secret":                   {`{"access_key":"x"}`, http.StatusUnprocessableEntity},
		"neither":                     {`{}`, http.StatusUnprocessableEntity},
		"an empty key":                {`{"access_key":"","access_secret":"x"}`, http.StatusUnprocessableEntity},
		"an empty secret":             {`{"access_key":"x","access_secret":""}`, http.StatusUnprocessableEntity},
		"a number as key":             {`{"access_key":1,"access_secret":"x"}`, http.StatusUnprocessableEntity},
		"a list as key":               {`{"access_key":["` + key + `"],"access_secret":"` + secret + `"}`, http.StatusUnprocessableEntity},
		"an object as secret":         {`{"access_key":"x","access_secret":{}}`, http.StatusUnprocessableEntity},
		"true as secret":              {`{"access_key":"x","access_secret":true}`, http.StatusUnprocessableEntity},
		"just over 8 KiB":             {good + strings.Repeat(" ", 8193-len(good)), http.StatusRequestEntityTooLarge},
		"a megabyte":                  {good + strings.Repeat(" ", 1<<20), http.StatusRequestEntityTooLarge},
		"exactly 8 KiB":               {good + strings.Repeat(" ", 8192-len(good)), http.StatusOK},
		"space around":                {" \r\n\t" + good + "\n", http.StatusOK},
		"an unknown field":            {`{"remember_me":{"days":[1,null]},` + good[1:], http.StatusOK},
		"a field name with an escape": {strings.Replace(good, "access_key", `\u0061ccess_key`, 1), http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.send(http.MethodPost, "/auth/users/login", test.body)
			require.Equal(t, test.status, r.status, r.body)
			if test.status != http.StatusOK {
				requireErrorBody(t, r)
				require.NotContains(t, r.body, secret, "the request is never echoed")
			}
		})
	}
}

// requireErrorBody fails the test unless the body is a documented error: a JSON object with one
// field that contains one sentence.
func requireErrorBody(t testing.TB, r response) {
	t.Helper()
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	object := r.json(t)
	require.Len(t, object, 1)
	require.IsType(t, "", object["detail"])
	require.NotEmpty(t, object["detail"])
	require.NotContains(t, object["detail"], "auth:", "the detail is not an internal error")
}

func TestLoginRequiresTheContentTypeJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for contentType, status := range map[string]int{
		"application/json":                  http.StatusOK,
		"application/json; charset=utf-8":   http.StatusOK,
		`Application/JSON; charset="UTF-8"`: http.StatusOK,
		"application/json; charset=utf-16":  http.StatusUnsupportedMediaType,
		"application/json;":                 http.StatusOK,
		"application/json, text/plain":      http.StatusUnsupportedMediaType,
		"application/x-www-form-urlencoded": http.StatusUnsupportedMediaType,
		"text/plain":                        http.StatusUnsupportedMediaType,
		"text/json":                         http.StatusUnsupportedMediaType,
		"application/jsonp":                 http.StatusUnsupportedMediaType,
		"multipart/form-data; boundary=x":   http.StatusUnsupportedMediaType,
		";":                                 http.StatusUnsupportedMediaType,
		"":                                  http.StatusUnsupportedMediaType,
	} {
		r := httptest.NewRequest(http.MethodPost, "/auth/users/login",
			strings.NewReader(loginBody(f.userPair)))
		r.Header.Set("Content-Type", contentType)
		require.Equal(t, status, serve(f.svc.Handler(), r).status, "%q", contentType)
	}
	r := httptest.NewRequest(http.MethodPost, "/auth/users/login", strings.NewReader(loginBody(f.userPair)))
	require.Equal(t, http.StatusUnsupportedMediaType, serve(f.svc.Handler(), r).status, "no Content-Type")
	r.Header["Content-Type"] = []string{"application/json", "text/plain"}
	require.Equal(t, http.StatusUnsupportedMediaType, serve(f.svc.Handler(), r).status,
		"two Content-Type headers")
}

func TestATruncatedBodyIsA400(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := loginBody(f.userPair)
	r := httptest.NewRequest(http.MethodPost, "/auth/users/login",
		io.MultiReader(strings.NewReader(good), brokenReader{}))
	r.Header.Set("Content-Type", "application/json")
	require.Equal(t, http.StatusBadRequest, serve(f.svc.Handler(), r).status)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestASignInCallsTheStoreTwice(t *testing.T) {
	t.Parallel()
	var calls []string
	f := newFixture(t, withFaults(func(method string) error { calls = append(calls, method); return nil }))
	credentials := f.svc.Credentials()
	nobody := credentials.GeneratePair()
	f.login(f.userPair)
	for name, test := range map[string]struct {
		pair auth.KeyPair
		want []string
	}{
		"a good pair":        {f.userPair, []string{"FindKey", "CreateSession"}}, // the client is known
		"an unknown key":     {nobody, []string{"FindKey"}},
		"a wrong secret":     {auth.KeyPair{AccessKey: f.userPair.AccessKey, AccessSecret: nobody.AccessSecret}, []string{"FindKey"}},
		"a bad checksum":     {auth.KeyPair{AccessKey: flipCase(nobody.AccessKey, 15), AccessSecret: nobody.AccessSecret}, nil},
		"a malformed secret": {auth.KeyPair{AccessKey: f.userPair.AccessKey, AccessSecret: auth.NewSecret("x")}, nil},
		"a malformed key":    {auth.KeyPair{AccessKey: "x", AccessSecret: f.userPair.AccessSecret}, nil},
	} {
		calls = nil
		f.login(test.pair)
		require.Equal(t, test.want, calls, name)
	}
}

func TestAKeyRevokedDuringASignInIsRejected(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(f *fixture) error{
		"key revoked": func(f *fixture) error {
			return f.svc.Credentials().Revoke(t.Context(), authtest.ByHost, f.userPair.AccessKey)
		},
		"user disabled": func(f *fixture) error {
			f.setActive(f.user, false)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f *fixture
			armed := false
			f = newFixture(t, withFaults(func(method string) error {
				if armed && method == "CreateSession" {
					armed = false
					return act(f)
				}
				return nil
			}))
			armed = true
			r := f.login(f.userPair)
			require.Equal(t, http.StatusUnauthorized, r.status)
			require.JSONEq(t, `{"detail": "Invalid access key or secret"}`, r.body)
		})
	}
}

func TestFailedSignInsWithImportedKeysGetTheSame401(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	imported := auth.ImportedKey{
		UserID: f.user.ID, AccessKey: "legacy", Secret: auth.NewSecret("correct horse"),
	}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, imported))
	good := auth.KeyPair{AccessKey: "legacy", AccessSecret: imported.Secret}
	require.Equal(t, http.StatusOK, f.login(good).status)
	want := f.login(auth.KeyPair{AccessKey: "nobody", AccessSecret: auth.NewSecret("correct horse")})
	require.JSONEq(t, `{"detail": "Invalid access key or secret"}`, want.body)
	for name, pair := range map[string]auth.KeyPair{
		"wrong secret":         {AccessKey: "legacy", AccessSecret: auth.NewSecret("wrong horse")},
		"unknown, generated":   f.svc.Credentials().GeneratePair(),
		"another key's secret": {AccessKey: "legacy", AccessSecret: f.userPair.AccessSecret},
		"another secret's key": {AccessKey: f.userPair.AccessKey, AccessSecret: imported.Secret},
	} {
		require.Equal(t, want, f.login(pair), name)
	}
	f.setActive(f.user, false)
	require.Equal(t, want, f.login(good), "the user is disabled")
}

func TestALongContentTypeIsNotParsed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := httptest.NewRequest(http.MethodPost, "/auth/users/login", strings.NewReader(loginBody(f.userPair)))
	r.Header.Set("Content-Type", "application/json"+strings.Repeat(`; a="b"`, 100))
	require.Equal(t, http.StatusUnsupportedMediaType, serve(f.svc.Handler(), r).status)
	r = httptest.NewRequest(http.MethodPost, "/auth/users/login", strings.NewReader(loginBody(f.userPair)))
	r.Header.Set("Content-Type", `application/json; charset="utf-8"`)
	require.Equal(t, http.StatusOK, serve(f.svc.Handler(), r).status)
}
