package wiretest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// array returns the body, which must be a JSON array of objects.
func (r response) array(t testing.TB) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.body)
	var objects []map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &objects), r.body)
	require.NotNil(t, objects)
	return objects
}

// pair returns the access key and the secret in the body.
func (r response) pair(t testing.TB) auth.KeyPair {
	t.Helper()
	object := r.json(t)
	return auth.KeyPair{
		AccessKey:    object["access_key"].(string),
		AccessSecret: auth.NewSecret(object["access_secret"].(string)),
	}
}

// requireLogin fails the test unless a sign-in with the pair gets the status want.
func (f *fixture) requireLogin(pair auth.KeyPair, want int) {
	f.t.Helper()
	require.Equal(f.t, want, f.login(pair).status)
}

func TestAUserMakesListsAndRevokesKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	require.Equal(t, []map[string]any{{
		"access_key": f.userPair.AccessKey, "label": "", "created_at": "2026-01-02T03:04:05Z",
		"expires_at": nil, "last_used_at": nil, "status": "Active", "scopes": nil, "must_rotate": false,
	}}, f.sendAs(token, "GET", "/auth/keys", "").array(t))

	f.clock.Advance(time.Hour)
	made := f.sendAs(token, "POST", "/auth/keys",
		`{"label":"the CI of \"app\" 🦆","expires_at":"2026-01-02T07:04:05+01:00"}`)
	require.Equal(t, http.StatusCreated, made.status, made.body)
	pair := made.pair(t)
	require.Equal(t, map[string]any{
		"access_key": pair.AccessKey, "access_secret": pair.AccessSecret.Reveal(),
		"label":      `the CI of "app" 🦆`,
		"created_at": "2026-01-02T04:04:05Z", "expires_at": "2026-01-02T06:04:05Z", "scopes": nil,
		"message": "Access key made. Store the access secret now: it is not shown again.",
	}, made.json(t))
	login := f.login(pair)
	require.Equal(t, http.StatusOK, login.status)
	require.EqualValues(t, 2*60*60, login.json(t)["expires_in"], "a session expires no later than its key")

	listed := f.sendAs(token, "GET", "/auth/keys", "")
	require.NotContains(t, listed.body, "secret")
	require.NotContains(t, listed.body, "hash")
	require.Equal(t, map[string]any{
		"access_key": pair.AccessKey, "label": `the CI of "app" 🦆`, "created_at": "2026-01-02T04:04:05Z",
		"expires_at": "2026-01-02T06:04:05Z", "last_used_at": "2026-01-02T04:04:05Z", "status": "Active",
		"scopes": nil, "must_rotate": false,
	}, listed.array(t)[1])

	f.clock.Advance(2 * time.Hour)
	require.Equal(t, "Expired", f.sendAs(token, "GET", "/auth/keys", "").array(t)[1]["status"])
	f.requireLogin(pair, http.StatusUnauthorized)

	require.Equal(t, http.StatusNoContent, f.sendAs(token, "DELETE", "/auth/keys/"+pair.AccessKey, "").status)
	require.Len(t, f.sendAs(token, "GET", "/auth/keys", "").array(t), 1)
	require.Equal(t, http.StatusNotFound, f.sendAs(token, "DELETE", "/auth/keys/"+pair.AccessKey, "").status)
}

func TestListReturnsKeysWithoutHashes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, f.userPair.AccessKey, time.Hour)
	require.NoError(t, err)
	keys, err := f.svc.Credentials().List(t.Context(), f.user.ID)
	require.NoError(t, err)
	require.Equal(t, []auth.AccessKey{{
		ID: f.userPair.AccessKey, UserID: f.user.ID, CreatedAt: f.clock.Now().Truncate(time.Microsecond),
		PreviousUntil: f.clock.Now().Truncate(time.Microsecond).Add(time.Hour),
	}}, keys)
}

func TestRevokingAKeyOverHTTPRevokesOnlyTheSessionsOfThatKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.signIn(f.user)
	token := f.login(f.userPair).json(t)["token"].(string)
	require.Equal(t, http.StatusNoContent,
		f.sendAs(token, "DELETE", "/auth/keys/"+f.userPair.AccessKey, "").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(token, "GET", "/auth/user", "").status)
	require.Equal(t, http.StatusOK, f.sendAs(other, "GET", "/auth/user", "").status)
}

func TestInvalidParametersOfANewKeyAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for name, test := range map[string]struct {
		body   string
		status int
		detail string
	}{
		"a misspelled field":                    {`{"expires":"2030-01-01T00:00:00Z"}`, 422, "Body has a field that is not known: the fields are label, expires_at and scopes"},
		"an expiry in the past":                 {`{"expires_at":"2026-01-02T03:04:05Z"}`, 422, "Field expires_at must be in the future"},
		"an expiry that is a date":              {`{"expires_at":"2030-01-01"}`, 422, "Field expires_at must be a time such as 2030-01-02T03:04:05Z"},
		"an hour of one digit":                  {`{"expires_at":"2030-01-01T3:04:05Z"}`, 422, "Field expires_at must be a time such as 2030-01-02T03:04:05Z"},
		"a decimal comma":                       {`{"expires_at":"2030-01-01T03:04:05,5Z"}`, 422, "Field expires_at must be a time such as 2030-01-02T03:04:05Z"},
		"a number as expiry":                    {`{"expires_at":1893456000}`, 422, "Field expires_at must be a time such as 2030-01-02T03:04:05Z"},
		"null as expiry":                        {`{"expires_at":null}`, 400, "Body must not have null for a field: leave the field out"},
		"an empty expiry":                       {`{"expires_at":""}`, 422, "Field expires_at must be a time such as 2030-01-02T03:04:05Z"},
		"an expiry in the year 10000":           {`{"expires_at":"9999-12-31T23:59:59-01:00"}`, 422, "Field expires_at must be between the years 1970 and 9999"},
		"a number as label":                     {`{"label":1}`, 422, "Field label must be a string"},
		"a label that is too long":              {`{"label":"` + strings.Repeat("x", 257) + `"}`, 422, "Field label must be at most 256 bytes long"},
		"a label with a bidirectional override": {`{"label":"x\u202e"}`, 422, "Field label must not have control or bidirectional characters"},
		"a secret chosen by the caller":         {`{"access_secret":"as_live_x"}`, 422, "Body has a field that is not known: the fields are label, expires_at and scopes"},
		"a duplicate field":                     {`{"label":"a","label":"b"}`, 400, "Body must not have a field twice"},
		"a field name in upper case":            {`{"Label":"a"}`, 400, "Body must have field names in lower case"},
		"an array":                              {`[]`, 400, "Body must be one JSON object"},
	} {
		r := f.sendAs(token, "POST", "/auth/keys", test.body)
		require.Equal(t, test.status, r.status, name)
		require.Equal(t, test.detail, r.json(t)["detail"], name)
	}
	form := f.send("POST", "/auth/keys", "", "Authorization", "Bearer "+token,
		"Content-Length", "3", "Content-Type", "text/plain")
	require.Equal(t, http.StatusCreated, form.status, "without a body the Content-Type does not matter")
	require.Len(t, f.sendAs(token, "GET", "/auth/keys", "").array(t), 2)
}

func TestAUserCannotHaveMoreThanMaxKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	for range auth.MaxKeys - 1 {
		require.Equal(t, http.StatusCreated, f.sendAs(token, "POST", "/auth/keys", "").status)
	}
	r := f.sendAs(token, "POST", "/auth/keys", "")
	require.Equal(t, http.StatusConflict, r.status)
	require.Equal(t, "There are as many access keys as there may be: revoke one first", r.json(t)["detail"])
}

func TestLastUsedAtIsWrittenAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writes := 0
	verifier, err := auth.NewCredentialVerifier(authtest.FaultyStore(f.store, func(method string) error {
		if method == "TouchKey" {
			writes++
		}
		return nil
	}), nil, auth.CredentialConfig{Now: f.clock.Now})
	require.NoError(t, err)
	for range 5 {
		for range 4 {
			key, _, err := verifier.Verify(t.Context(), f.userPair)
			require.NoError(t, err)
			require.LessOrEqual(t, f.clock.Now().Sub(key.LastUsedAt), time.Minute)
			f.clock.Advance(20 * time.Second)
		}
	}
	require.Equal(t, 7, writes, "400 seconds have passed")
}

func TestVerifyFailsIfTouchKeyFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct{ fault, want error }{
		{authtest.ErrStoreAway, authtest.ErrStoreAway},
		{auth.ErrNotFound, auth.ErrInvalidCredentials},
	} {
		verifier, err := auth.NewCredentialVerifier(authtest.FaultyStore(f.store, func(method string) error {
			if method == "TouchKey" {
				return test.fault
			}
			return nil
		}), nil, auth.CredentialConfig{Now: f.clock.Now})
		require.NoError(t, err)
		_, _, err = verifier.Verify(t.Context(), f.userPair)
		require.ErrorIs(t, err, test.want)
	}
}

func TestBothSecretsOfARotatedKeyWorkUntilTheOverlapEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	first := f.sendAs(token, "POST", "/auth/keys",
		`{"label":"CI","expires_at":"2027-01-02T03:04:05Z"}`).pair(t)
	path := "/auth/keys/" + first.AccessKey + "/rotate"
	r := f.sendAs(token, "POST", path, `{"overlap_seconds":3600}`)
	require.Equal(t, http.StatusCreated, r.status, r.body)
	second := r.pair(t)
	require.Equal(t, first.AccessKey, second.AccessKey)
	require.NotEqual(t, first.AccessSecret.Reveal(), second.AccessSecret.Reveal())
	require.Equal(t, "CI", r.json(t)["label"])
	require.Equal(t, "2027-01-02T03:04:05Z", r.json(t)["expires_at"])

	f.requireLogin(first, http.StatusOK)
	f.requireLogin(second, http.StatusOK)
	again := f.sendAs(token, "POST", path, "")
	require.Equal(t, http.StatusConflict, again.status)
	require.Equal(t, "The earlier secret of this key still works: rotate again when it does not",
		again.json(t)["detail"])
	f.clock.Advance(time.Hour - time.Microsecond)
	f.requireLogin(first, http.StatusOK)
	f.clock.Advance(time.Microsecond)
	f.requireLogin(first, http.StatusUnauthorized)
	f.requireLogin(second, http.StatusOK)

	third := f.sendAs(token, "POST", path, "").pair(t)
	f.requireLogin(first, http.StatusUnauthorized)
	f.requireLogin(second, http.StatusUnauthorized)
	f.requireLogin(third, http.StatusOK)
	require.Equal(t, http.StatusOK, f.sendAs(token, "GET", "/auth/user", "").status)

	require.Equal(t, http.StatusNoContent,
		f.sendAs(token, "DELETE", "/auth/keys/"+first.AccessKey, "").status)
	f.requireLogin(third, http.StatusUnauthorized)
}

func TestInvalidRotationsAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	token := f.signIn(f.user)
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: "alice@old", Secret: auth.NewSecret("correct horse"),
	}))
	for _, body := range []string{
		`{"overlap_seconds":-1}`, `{"overlap_seconds":604801}`, `{"overlap_seconds":9223372036854775807}`, `{"overlap_seconds":"60"}`,
		`{"overlap_seconds":1.5}`, `{"overlap_seconds":1e3}`, `{"overlap":60}`,
	} {
		require.Equal(t, http.StatusUnprocessableEntity,
			f.sendAs(token, "POST", "/auth/keys/"+f.userPair.AccessKey+"/rotate", body).status, body)
	}
	imported := f.sendAs(token, "POST", "/auth/keys/alice@old/rotate", "")
	require.Equal(t, http.StatusUnprocessableEntity, imported.status)
	require.Equal(t,
		"Field access_key was made elsewhere and cannot be rotated: make a new key instead",
		imported.json(t)["detail"])
	f.requireLogin(f.userPair, http.StatusOK)
	require.Equal(t, http.StatusNoContent, f.sendAs(token, "DELETE", "/auth/keys/alice@old", "").status)
	for _, name := range []string{"https://old.example/alice", "a//b", "a/../b", "a%2Fb"} {
		require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost,
			auth.ImportedKey{UserID: f.user.ID, AccessKey: name, Secret: auth.NewSecret("correct horse")}))
		require.Equal(t, http.StatusNoContent,
			f.sendAs(token, "DELETE", "/auth/keys/"+url.PathEscape(name), "").status, name)
	}
	for _, odd := range []string{"/auth//keys/x", "/auth/./keys/x", "/auth/keys/../keys/x"} {
		require.Equal(t, http.StatusNotFound, f.sendAs(token, "DELETE", odd, "").status, odd)
	}

	_, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, f.userPair.AccessKey, 7*24*time.Hour+1)
	require.ErrorIs(t, err, auth.ErrInvalid)
	_, err = f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, "ak_live_none", 0)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// A sign-in with the previous secret of a rotated key must not overwrite the hash of the new
// secret.
func TestThePreviousSecretUnderAnOldPepperDoesNotReplaceTheNewHash(t *testing.T) {
	t.Parallel()
	earlier := authtest.SymmetricKey(t, "p1")
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.Peppers = []auth.SymmetricKey{earlier}
	})
	rotated, err := auth.New(f.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
		Credentials: auth.CredentialConfig{
			Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p2"), earlier},
		},
	})
	require.NoError(t, err)
	second, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, f.userPair.AccessKey, time.Hour)
	require.NoError(t, err)
	for range 3 {
		for _, pair := range []auth.KeyPair{f.userPair, second} {
			_, err = rotated.Login(t.Context(), pair, auth.LoginOptions{})
			require.NoError(t, err)
		}
	}
}

func TestRotatingAKeyUnderLoadRejectsNoSignIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const clients = 64
	var current atomic.Pointer[auth.KeyPair] // the newest pair
	current.Store(&f.userPair)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var rejected atomic.Int64
	var inUse [clients]atomic.Pointer[auth.KeyPair] // the pair that each client uses
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				// A client uses a pair several times before it fetches the newest pair.
				pair := current.Load()
				inUse[i].Store(pair)
				for range 3 {
					if _, err := f.svc.Login(t.Context(), *pair, auth.LoginOptions{}); err != nil {
						rejected.Add(1)
					}
				}
			}
		})
	}
	old := f.userPair
	for range 20 {
		pair, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, old.AccessKey, time.Hour)
		require.NoError(t, err)
		_, err = f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, old.AccessKey, 0)
		require.ErrorIs(t, err, auth.ErrRotating)
		current.Store(&pair)
		for i := range inUse {
			for inUse[i].Load() != &pair { // until every client uses the new pair
				time.Sleep(time.Millisecond)
			}
		}
		require.Zero(t, rejected.Load(), "before the overlap ends")
		f.clock.Advance(time.Hour)
		_, err = f.svc.Login(t.Context(), old, auth.LoginOptions{})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
		old = pair
	}
	stop()
	running.Wait()
	require.Zero(t, rejected.Load())
}

func TestOneOfTwoConcurrentRotationsSucceeds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 50 {
		var pairs [2]auth.KeyPair
		var errs [2]error
		var running sync.WaitGroup
		for i := range pairs {
			running.Go(func() {
				pairs[i], errs[i] = f.svc.Credentials().Rotate(context.Background(),
					authtest.ByHost, f.userPair.AccessKey, time.Minute)
			})
		}
		running.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		require.NoError(t, errs[won])
		require.ErrorIs(t, errs[1-won], auth.ErrRotating)
		f.requireLogin(pairs[won], http.StatusOK)
		f.clock.Advance(time.Minute)
	}
}

func TestAccountCallsAnswer503IfTheStoreFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, method := range []string{"ListKeys", "FindKey", "RotateKey", "ListSessions", "FindSession"} {
		svc, err := auth.New(authtest.FaultyStore(f.store, func(called string) error {
			if called == method {
				return authtest.ErrStoreAway
			}
			return nil
		}), auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now})
		require.NoError(t, err)
		token := f.signIn(f.user)
		failed := 0
		for _, call := range []string{
			"GET /auth/keys", "GET /auth/sessions",
			"POST /auth/keys/" + f.userPair.AccessKey + "/rotate", "DELETE /auth/sessions/x",
		} {
			verb, path, _ := strings.Cut(call, " ")
			r := send(svc.Handler(), verb, path, "", "Authorization", "Bearer "+token)
			if r.status == http.StatusServiceUnavailable {
				failed++
				requireErrorBody(t, r)
			}
		}
		require.Equal(t, 1, failed, method)
	}
}
