package wiretest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash/crc32"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// credentials is a credential verifier and its store. The store has the users u1 (alice) and u2
// (mallory).
type credentials struct {
	*auth.CredentialVerifier
	clock *authtest.Clock
	store auth.Store
}

func newCredentials(t testing.TB, cfg auth.CredentialConfig) *credentials {
	t.Helper()
	c := &credentials{clock: authtest.NewClock(), store: memstore.New()}
	register(t, c.store, c.clock, "u1", "alice")
	register(t, c.store, c.clock, "u2", "mallory")
	c.configure(t, cfg)
	return c
}

// configure replaces the verifier by one with this configuration and the same store.
func (c *credentials) configure(t testing.TB, cfg auth.CredentialConfig) {
	t.Helper()
	cfg.Now = c.clock.Now
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	c.CredentialVerifier, err = auth.NewCredentialVerifier(c.store, nil, cfg)
	require.NoError(t, err)
}

func (c *credentials) issue(t testing.TB) auth.KeyPair {
	t.Helper()
	pair, err := c.Issue(t.Context(), authtest.ByHost, "u1", auth.KeyOptions{})
	require.NoError(t, err)
	return pair
}

func (c *credentials) hash(t testing.TB, accessKey string) string {
	t.Helper()
	key, _, err := c.store.FindKey(t.Context(), accessKey)
	require.NoError(t, err)
	return key.Hash
}

func (c *credentials) requireGood(t testing.TB, pair auth.KeyPair) {
	t.Helper()
	key, user, err := c.Verify(t.Context(), pair)
	require.NoError(t, err)
	require.Equal(t, "u1", user.ID)
	require.Equal(t, pair.AccessKey, key.ID)
}

func (c *credentials) requireBad(t testing.TB, pair auth.KeyPair) {
	t.Helper()
	key, user, err := c.Verify(t.Context(), pair)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	require.Zero(t, key)
	require.Zero(t, user)
}

func TestAGeneratedPairHasTheDocumentedForm(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	key := regexp.MustCompile(`^ak_live_([0-9A-Za-z]{20})[0-9A-Za-z]{6}$`)
	secret := regexp.MustCompile(`^as_live_([0-9A-Za-z]{20})[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`)
	seen := map[string]bool{}
	for range 1000 {
		pair := c.GeneratePair()
		k := key.FindStringSubmatch(pair.AccessKey)
		s := secret.FindStringSubmatch(pair.AccessSecret.Reveal())
		require.NotNil(t, k, pair.AccessKey)
		require.NotNil(t, s)
		require.Equal(t, k[1], s[1], "the secret contains the ID of its key")
		require.False(t, seen[k[1]])
		seen[k[1]] = true
		for _, text := range []string{pair.AccessKey, pair.AccessSecret.Reveal()} {
			body, tail := text[:len(text)-6], text[len(text)-6:]
			require.Equal(t, crc32.ChecksumIEEE([]byte(body)), fromBase62(tail))
		}
	}
}

func fromBase62(text string) uint32 {
	n := uint64(0)
	for _, c := range text {
		n = n*62 +
			uint64(strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c))
	}
	return uint32(n)
}

func TestTheCharactersOfSecretsAreUniformlyDistributed(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	counts := map[rune]int{}
	const pairs = 4000
	for range pairs {
		for _, char := range c.GeneratePair().AccessSecret.Reveal()[8:71] {
			counts[char]++
		}
	}
	expected := float64(pairs*63) / 62
	chiSquared := 0.0
	for _, n := range counts {
		chiSquared += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	require.Len(t, counts, 62)
	require.Less(t, chiSquared, 150.0,
		"61 degrees of freedom: above 150 once in 10^9; the biased b%%62 gives over 5000")
}

func TestAKeyVerifiesUntilItExpiresOrIsRevoked(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair, err := c.Issue(t.Context(), authtest.ByHost, "u1", auth.KeyOptions{
		Label: "laptop", ExpiresAt: c.clock.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	other := c.issue(t)
	c.requireGood(t, pair)
	key, _, err := c.store.FindKey(t.Context(), pair.AccessKey)
	require.NoError(t, err)
	require.Equal(t, "laptop", key.Label)

	c.clock.Advance(time.Hour - time.Microsecond)
	c.requireGood(t, pair)
	c.clock.Advance(2 * time.Microsecond)
	c.requireBad(t, pair)

	require.NoError(t, c.Revoke(t.Context(), authtest.ByHost, other.AccessKey))
	c.requireBad(t, other)
	require.ErrorIs(t, c.Revoke(t.Context(), authtest.ByHost, other.AccessKey), auth.ErrNotFound)
}

func TestIssueRejectsInvalidOptionsAndUnknownUsers(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	for name, options := range map[string]auth.KeyOptions{
		"an expiry of now":         {ExpiresAt: c.clock.Now()},
		"an expiry long ago":       {ExpiresAt: time.Unix(1, 0)},
		"an expiry in year 10000":  {ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a label of 257 bytes":     {Label: strings.Repeat("x", 257)},
		"a label with a newline":   {Label: "a\nb"},
		"a label with an override": {Label: "a\u202eb"},
	} {
		_, err := c.Issue(t.Context(), authtest.ByHost, "u1", options)
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
	_, err := c.Issue(t.Context(), authtest.ByHost, "nobody", auth.KeyOptions{})
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func TestPrefixesAreConfigurable(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{
		AccessKeyPrefix: "acme_test_key", AccessSecretPrefix: "acme_test_secret",
	})
	pair := c.issue(t)
	require.True(t, strings.HasPrefix(pair.AccessKey, "acme_test_key_"))
	require.True(t, strings.HasPrefix(pair.AccessSecret.Reveal(), "acme_test_secret_"))
	c.requireGood(t, pair)

	live := newCredentials(t, auth.CredentialConfig{}).GeneratePair()
	c.requireBad(t, live)

	for _, prefixes := range [][2]string{
		{"same", "same"}, {"Same", "same"}, {"a-b", ""}, {"ключ", ""}, {"a b", ""}, {"_a", ""}, {"a_", ""},
		{"", "a."}, {strings.Repeat("x", 33), ""}, {"as_live", ""}, {"\u017f", ""},
	} {
		_, err := auth.NewCredentialVerifier(c.store, nil, auth.CredentialConfig{
			AccessKeyPrefix: prefixes[0], AccessSecretPrefix: prefixes[1],
		})
		require.Error(t, err, prefixes)
	}
}

func TestAStoredHashIsBoundToItsUserAndKey(t *testing.T) {
	t.Parallel()
	peppers := []auth.SymmetricKey{authtest.SymmetricKey(t, "p1")}
	for name, cfg := range map[string]auth.CredentialConfig{"pepper": {Peppers: peppers}, "no pepper": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCredentials(t, cfg)
			pair := c.issue(t)
			hash := c.hash(t, pair.AccessKey)
			require.NotContains(t, hash, pair.AccessSecret.Reveal())

			// Mallory has a key of her own and can write to the store.
			own := c.GeneratePair()
			add := func(id, userID, hash string) {
				require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
					ID: id, UserID: userID, Hash: hash, CreatedAt: c.clock.Now(),
				}))
			}
			// The victim's hash is copied to the key and the user of Mallory.
			add(own.AccessKey, "u2", hash)
			c.requireBad(t, auth.KeyPair{AccessKey: own.AccessKey, AccessSecret: pair.AccessSecret})
			second := c.GeneratePair()
			// The victim's hash is copied to another key of the victim.
			add(second.AccessKey, "u1", hash)
			c.requireBad(t, auth.KeyPair{AccessKey: second.AccessKey, AccessSecret: pair.AccessSecret})
			require.NoError(t, c.Revoke(t.Context(), authtest.ByHost, pair.AccessKey))
			// The victim's key is moved to Mallory's user.
			add(pair.AccessKey, "u2", hash)
			c.requireBad(t, pair)
		})
	}
}

func TestPeppersRotateThroughTheRing(t *testing.T) {
	t.Parallel()
	first, second := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	c := newCredentials(t, auth.CredentialConfig{})
	pair, idle := c.issue(t), c.issue(t)
	require.True(t, strings.HasPrefix(c.hash(t, pair.AccessKey), "$sha256$v=1$"))

	// The service introduces a pepper. NoPepper in the ring keeps hashes without a pepper valid.
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{first, auth.NoPepper()}})
	c.requireGood(t, pair)
	require.True(t, strings.HasPrefix(c.hash(t, pair.AccessKey), "$hmac-sha256$v=1$k=p1$"),
		"the sign-in renews the hash")
	c.requireGood(t, pair)

	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{first}})
	c.requireGood(t, pair)
	// This key was not used after the pepper was introduced, so its hash still has no pepper. A
	// hash without a pepper could be forged.
	c.requireBad(t, idle)

	// If a new pepper is the first in the ring, hashes with the old pepper stay valid and are
	// renewed.
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{second, first}})
	c.requireGood(t, pair)
	require.Contains(t, c.hash(t, pair.AccessKey), "$k=p2$")
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{second}})
	c.requireGood(t, pair)

	// A pepper with the same ID but another secret is a different pepper.
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p2")}})
	c.requireBad(t, pair)
	c.configure(t, auth.CredentialConfig{})
	c.requireBad(t, pair)
}

func TestWriteAccessToTheStoreIsNotEnoughToForgeAKey(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p1")}, AllowImported: true,
	})
	unpeppered := newCredentials(t, auth.CredentialConfig{})
	forged := unpeppered.issue(t)
	h, err := bcrypt.GenerateFromPassword([]byte("known secret"), 10)
	require.NoError(t, err)
	for name, key := range map[string]struct{ id, hash, secret string }{
		"a fast hash": {forged.AccessKey, unpeppered.hash(t, forged.AccessKey), forged.AccessSecret.Reveal()},
		"bcrypt":      {"legacy", string(h), "known secret"},
	} {
		require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
			ID: key.id, UserID: "u1", Hash: key.hash, CreatedAt: c.clock.Now(),
		}))
		_, _, err := c.Verify(t.Context(), auth.KeyPair{
			AccessKey: key.id, AccessSecret: auth.NewSecret(key.secret),
		})
		require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
	}
}

func TestASignInSucceedsIfTheHashCannotBeRenewed(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair := c.issue(t)
	c.store = authtest.FaultyStore(c.store, func(method string) error {
		if method == "SwapHash" {
			return context.DeadlineExceeded
		}
		return nil
	})
	c.configure(t, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p1"), auth.NoPepper()},
	})
	c.requireGood(t, pair)
	require.True(t, strings.HasPrefix(c.hash(t, pair.AccessKey), "$sha256$"))
}

func TestInvalidPepperRingsAreRejected(t *testing.T) {
	t.Parallel()
	key := authtest.SymmetricKey(t, "p1")
	for name, ring := range map[string][]auth.SymmetricKey{
		"a duplicate ID":  {key, authtest.SymmetricKey(t, "p1")},
		"a zero key":      {{}},
		"a zero key last": {key, {}},
		"no pepper twice": {auth.NoPepper(), auth.NoPepper()},
	} {
		_, err := auth.NewCredentialVerifier(memstore.New(), nil, auth.CredentialConfig{Peppers: ring})
		require.Error(t, err, name)
	}
	_, err := auth.NewCredentialVerifier(nil, nil, auth.CredentialConfig{})
	require.Error(t, err)
	_, err = auth.NewCredentialVerifier(memstore.New(), nil, auth.CredentialConfig{MaxSlowHashes: -1})
	require.Error(t, err)
}

// Peppers are introduced and replaced in steps on two instances. One instance is always a step
// behind the other. Both instances must accept all keys after every step.
func TestChangingPeppersInstanceByInstanceRejectsNoKey(t *testing.T) {
	t.Parallel()
	none, first, second := auth.NoPepper(), authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	ahead := newCredentials(t, auth.CredentialConfig{})
	behind := &credentials{clock: ahead.clock, store: ahead.store}
	steps := [][]auth.SymmetricKey{
		nil, {none, first}, {first, none}, {first, none}, {first}, {first, second}, {second, first},
		{second, first}, {second},
	}
	var pairs []auth.KeyPair
	for i, ring := range steps {
		ahead.configure(t, auth.CredentialConfig{Peppers: ring})
		behind.configure(t, auth.CredentialConfig{Peppers: steps[max(0, i-1)]})
		pairs = append(pairs, ahead.issue(t), behind.issue(t))
		for range 2 {
			for _, pair := range pairs {
				ahead.requireGood(t, pair)
				behind.requireGood(t, pair)
			}
		}
	}
}

// Every rejected pair of the generated form must cost at least one digest, so that the time does
// not show what was wrong. The test counts allocations, because code that skips the digest would
// allocate less.
func TestEveryRejectedWellFormedPairCostsOneDigest(t *testing.T) {
	// Not parallel, because it counts the allocations of the whole process.
	pepper := authtest.SymmetricKey(t, "p1")
	c := newCredentials(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper}})
	add := func(pair auth.KeyPair, hash string) auth.KeyPair {
		require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
			ID: pair.AccessKey, UserID: "u1", Hash: hash, CreatedAt: c.clock.Now(),
		}))
		return pair
	}
	known := c.issue(t)
	cost := func(pair auth.KeyPair) float64 {
		return testing.AllocsPerRun(200, func() { c.Verify(t.Context(), pair) })
	}
	wrong := cost(auth.KeyPair{AccessKey: known.AccessKey, AccessSecret: c.GeneratePair().AccessSecret})
	digest := testing.AllocsPerRun(200, func() {
		h := hmac.New(sha256.New, make([]byte, 32))
		h.Sum(nil)
	})
	for name, pair := range map[string]auth.KeyPair{
		"an unknown key":         c.GeneratePair(),
		"an unknown pepper":      add(c.GeneratePair(), "$hmac-sha256$v=1$k=p9$"+strings.Repeat("A", 43)),
		"a row without pepper":   add(c.GeneratePair(), "$sha256$v=1$"+strings.Repeat("A", 43)),
		"an unreadable row":      add(c.GeneratePair(), "unreadable"),
		"a row with a slow hash": add(c.GeneratePair(), phc("x", 8192, 1, 1)),
	} {
		require.Greater(t, cost(pair), wrong-digest, "%s: %v allocations, a wrong secret %v", name,
			cost(pair), wrong)
	}
}

func TestEveryRejectedImportedPairCostsOneSlowHash(t *testing.T) {
	// Not parallel, because it counts the allocations of the whole process.
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true})
	for name, hash := range map[string]string{
		"unreadable": "unreadable", "out of bounds": "$2a$31$" + strings.Repeat("a", 53),
		"unknown pepper": "$argon2id-bound$v=19$m=19456,t=2,p=1,k=p9$MDEyMzQ1Njc$MDEyMzQ1Njc4OWFiY2RlZg",
	} {
		require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
			ID: name, UserID: "u1", Hash: hash, CreatedAt: c.clock.Now(),
		}))
	}
	for _, name := range []string{"nobody", "unreadable", "out of bounds", "unknown pepper"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.requireBad(t, auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret("correct horse")})
		runtime.ReadMemStats(&after)
		require.Greater(t, after.TotalAlloc-before.TotalAlloc, uint64(19<<20),
			"%s: the memory of argon2id", name)
	}
}

func TestAKeyThatTheStoreReturnsWithAnotherUserIsRejected(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair := c.issue(t)
	c.store = wrongOwnerStore{c.store}
	c.configure(t, auth.CredentialConfig{})
	c.requireBad(t, pair)
}

type wrongOwnerStore struct{ auth.Store }

func (s wrongOwnerStore) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	key, user, err := s.Store.FindKey(ctx, id)
	user.ID = "u2"
	return key, user, err
}
