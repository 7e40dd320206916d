package wiretest

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestRevokeLeakedRevokesTheKeyAndItsSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.login(f.userPair).json(t)["token"].(string)
	other, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
		auth.KeyOptions{Label: "other"})
	require.NoError(t, err)
	key, err := f.svc.Credentials().RevokeLeaked(t.Context(), f.userPair.AccessSecret)
	require.NoError(t, err)
	require.Equal(t, f.userPair.AccessKey, key.ID)
	require.Equal(t, f.user.ID, key.UserID)
	require.Empty(t, key.Hash)
	f.requireLogin(f.userPair, 401)
	f.requireLogin(other, 200)
	require.Equal(t, 401, f.sendAs(token, "GET", "/auth/user", "").status)

	_, err = f.svc.Credentials().RevokeLeaked(t.Context(), f.userPair.AccessSecret)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials, "the key is revoked already")
}

func TestRevokeLeakedAcceptsEachSecretOfARotatedKeyWhileItWorks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after    time.Duration
		old      bool
		rejected bool
	}{
		"the new secret": {0, false, false}, "the previous secret": {0, true, false},
		"the previous secret after the overlap": {time.Hour, true, true},
		"the new secret after the overlap":      {time.Hour, false, false},
	} {
		f := newFixture(t)
		next, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, f.userPair.AccessKey, time.Hour)
		require.NoError(t, err)
		f.clock.Advance(test.after)
		leaked := next.AccessSecret
		if test.old {
			leaked = f.userPair.AccessSecret
		}
		_, err = f.svc.Credentials().RevokeLeaked(t.Context(), leaked)
		if test.rejected {
			require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
			f.requireLogin(next, 200)
			continue
		}
		require.NoError(t, err, name)
		f.requireLogin(next, 401)
		f.requireLogin(f.userPair, 401)
	}
}

func TestRevokeLeakedRevokesKeysOfDisabledUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.setActive(f.user, false)
	_, err := f.svc.Credentials().RevokeLeaked(t.Context(), f.userPair.AccessSecret)
	require.NoError(t, err)
	f.setActive(f.user, true)
	f.requireLogin(f.userPair, 401)
}

func TestRevokeLeakedIgnoresExpiredKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{
		ExpiresAt: f.clock.Now().Add(time.Minute),
	})
	require.NoError(t, err)
	f.clock.Advance(time.Minute)
	_, err = f.svc.Credentials().RevokeLeaked(t.Context(), pair.AccessSecret)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	keys, err := f.svc.Credentials().List(t.Context(), f.user.ID)
	require.NoError(t, err)
	require.Len(t, keys, 2)
}

// A client that knows only the access key and not the secret must not be able to revoke the key.
func TestRevokeLeakedNeedsTheWholeCurrentSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: "alice@old", Secret: auth.NewSecret("correct horse"),
	}))
	secret := f.userPair.AccessSecret.Reveal()
	// This secret contains the same key ID and has a valid checksum, but is wrong.
	forged := authtest.WrongSecret(f.userPair.AccessKey).Reveal()
	for _, text := range []string{
		"", f.userPair.AccessKey, strings.Replace(f.userPair.AccessKey, "ak_", "as_", 1),
		secret[:len(secret)-1], secret + "x", " " + secret,
		flipCase(secret, len(secret)-1), flipCase(secret, 40), strings.ToUpper(secret), forged,
		f.svc.Credentials().GeneratePair().AccessSecret.Reveal(), "alice@old", "correct horse",
	} {
		_, err := f.svc.Credentials().RevokeLeaked(t.Context(), auth.NewSecret(text))
		require.ErrorIs(t, err, auth.ErrInvalidCredentials, text)
	}
	f.requireLogin(f.userPair, 200)
}

// If a program lacks a pepper of the service, it must not report that a working secret no longer works.
func TestRevokeLeakedReportsAPepperThatItDoesNotHave(t *testing.T) {
	t.Parallel()
	p1, p2 := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	const noPepper = `the hash has no pepper, and CredentialConfig.Peppers does not contain NoPepper()`
	const noP1 = `CredentialConfig.Peppers has no pepper with the ID "p1"`
	type ring = []auth.SymmetricKey
	for name, test := range map[string]struct {
		before, after ring // the service's peppers before and after a rotation with an overlap
		program       ring
		old           bool // whether the previous secret leaks
		want          string
	}{
		"no pepper in the program":        {ring{p1}, ring{p1}, nil, false, noP1},
		"another pepper in the program":   {ring{p1}, ring{p1}, ring{p2, auth.NoPepper()}, false, noP1},
		"a hash without a pepper":         {nil, nil, ring{p1}, false, noPepper},
		"the previous secret":             {ring{p1}, ring{p2, p1}, ring{p2}, true, noP1},
		"the new secret":                  {ring{p1}, ring{p2, p1}, ring{p2}, false, ""},
		"the new secret, an older ring":   {nil, ring{p1, auth.NoPepper()}, nil, false, noP1},
		"the service's own configuration": {ring{p1}, ring{p2, p1}, ring{p2, p1}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCredentials(t, auth.CredentialConfig{Peppers: test.before})
			leaked := c.issue(t)
			c.configure(t, auth.CredentialConfig{Peppers: test.after})
			next, err := c.Rotate(t.Context(), authtest.ByHost, leaked.AccessKey, time.Hour)
			require.NoError(t, err)
			if !test.old {
				leaked = next
			}

			program, err := auth.NewCredentialVerifier(c.store, nil,
				auth.CredentialConfig{Peppers: test.program, Now: c.clock.Now})
			require.NoError(t, err)
			_, err = program.RevokeLeaked(t.Context(), leaked.AccessSecret)
			if test.want == "" {
				require.NoError(t, err)
				c.requireBad(t, leaked)
				return
			}
			require.ErrorIs(t, err, auth.ErrUnknownPepper)
			require.NotErrorIs(t, err, auth.ErrInvalidCredentials)
			require.EqualError(t, err, "auth: the access key "+leaked.AccessKey+
				" is not revoked: auth: unknown pepper: "+test.want)
			c.requireGood(t, leaked)

			require.NoError(t, c.Revoke(t.Context(), authtest.ByHost, leaked.AccessKey))
			_, err = program.RevokeLeaked(t.Context(), leaked.AccessSecret)
			require.ErrorIs(t, err, auth.ErrInvalidCredentials, "a revoked key needs no pepper")
		})
	}
}

func TestRevokeLeakedNeedsNoPepperForASecretThatNoLongerWorks(t *testing.T) {
	t.Parallel()
	p1, p2 := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	c := newCredentials(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{p1}})
	expiring, err := c.Issue(t.Context(), authtest.ByHost, "u1",
		auth.KeyOptions{ExpiresAt: c.clock.Now().Add(time.Hour)})
	require.NoError(t, err)
	rotated := c.issue(t)
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{p2, p1}})
	_, err = c.Rotate(t.Context(), authtest.ByHost, rotated.AccessKey, time.Hour)
	require.NoError(t, err)
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{p2}})
	c.clock.Advance(time.Hour)
	for _, pair := range []auth.KeyPair{expiring, rotated} {
		_, err = c.RevokeLeaked(t.Context(), pair.AccessSecret)
		require.ErrorIs(t, err, auth.ErrInvalidCredentials)
		require.NotErrorIs(t, err, auth.ErrUnknownPepper)
	}
}

func TestRevokeLeakedReportsStoreErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, method := range []string{"FindKey", "RevokeKey"} {
		verifier, err := auth.NewCredentialVerifier(authtest.FaultyStore(f.store, func(called string) error {
			if called == method {
				return authtest.ErrStoreAway
			}
			return nil
		}), nil, auth.CredentialConfig{Now: f.clock.Now})
		require.NoError(t, err)
		_, err = verifier.RevokeLeaked(t.Context(), f.userPair.AccessSecret)
		require.ErrorIs(t, err, authtest.ErrStoreAway)
		require.NotContains(t, err.Error(), f.userPair.AccessSecret.Reveal())
	}
}

func TestTheSecretPatternFindsEverySecretInAnyText(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "acme_prod_secret", "s3"} {
		keys, err := auth.NewCredentialVerifier(newFixture(t).store, nil,
			auth.CredentialConfig{AccessSecretPrefix: prefix})
		require.NoError(t, err)
		pattern := regexp.MustCompile(keys.SecretPattern())
		for range 200 {
			pair := keys.GeneratePair()
			secret := pair.AccessSecret.Reveal()
			for _, text := range []string{
				"%s", "SECRET=%s\n", `{"access_secret":"%s"}`, "'%s'", "https://u:%s@example.com/",
				"-%s-", "é%sé", "(%s)", "%s.", "\x00%s\x00",
			} {
				text = strings.Replace(text, "%s", secret, 1)
				require.Equal(t, []string{secret}, pattern.FindAllString(text, -1), text)
			}
			require.Empty(t, pattern.FindAllString(pair.AccessKey, -1), "an access key is public")
		}
	}
}

// The texts are similar to a secret and common in the input of secret scanners.
func TestTheSecretPatternDoesNotMatchSimilarText(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pattern := regexp.MustCompile(f.svc.Credentials().SecretPattern())
	secret := f.userPair.AccessSecret.Reveal()
	body := strings.TrimPrefix(secret, "as_live_")
	for _, text := range []string{
		"as_live_", "as_live_" + body[:68], "as_live_" + body + "x", "xas_live_" + body,
		"_as_live_" + body, "AS_LIVE_" + body, "as-live-" + body,
		"as_live_" + body[:30] + "-" + body[31:], "as_live_" + body[:30] + "\n" + body[30:],
		"as_live " + body, "ak_live_" + body, "as_test_" + body,
		"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
		"AKIAIOSFODNN7EXAMPLE",
		f.signIn(f.user), strings.Repeat("a", 77), "as_live_" + strings.Repeat("=", 69),
		"deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
		"was_live_at_the_time_of_writing_and_has_been_since_then_for_as_long_as_anybody_remembers_it_to_be",
	} {
		require.Empty(t, pattern.FindAllString(text, -1), text)
	}
}

// Readers copy the pattern from docs/leaked-keys.md, so it must be the pattern of the code.
func TestTheLeakedKeysPageHasTheSecretPattern(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/leaked-keys.md")
	require.NoError(t, err)
	keys := newFixture(t).svc.Credentials()
	require.Contains(t, string(page), "\nregex = '''"+keys.SecretPattern()+"'''\n")
	bare := strings.TrimSuffix(strings.TrimPrefix(keys.SecretPattern(), `\b`), `\b`)
	require.Contains(t, string(page), "```text\n"+bare+"\n```\n")
	require.Regexp(t, "^"+bare+"$", keys.GeneratePair().AccessSecret.Reveal())
}
