package wiretest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

func phc(secret string, memory, time uint32, threads uint8) string {
	salt := []byte("0123456789abcdef")
	hash := argon2.IDKey([]byte(secret), salt, time, memory, threads, 32)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, time, threads, rawStd(salt),
		rawStd(hash))
}

func TestImportedHashesVerifyAndAreRenewed(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true})
	for name, imported := range map[string]auth.ImportedKey{
		"bcrypt-2a":            {Hash: bcrypted},
		"bcrypt-2b":            {Hash: "$2b" + bcrypted[3:]},
		"bcrypt-2y":            {Hash: "$2y" + bcrypted[3:]},
		"argon2id":             {Hash: phc("correct horse", 8*1024, 1, 1)},
		"argon2id of npm":      {Hash: strings.Replace(phc("correct horse", 8*1024, 2, 1), "t=2,p=1", "p=1,t=2", 1)},
		"SHA-256":              {GeneratedSHA256: fmt.Sprintf("%X", sha256.Sum256([]byte("correct horse")))},
		"a plain secret":       {Secret: auth.NewSecret("correct horse")},
		"a name with «spaces»": {Secret: auth.NewSecret("correct horse")},
	} {
		imported.UserID, imported.AccessKey = "u1", name
		require.NoError(t, c.Import(t.Context(), authtest.ByHost, imported), name)
		require.NotContains(t, c.hash(t, name), "correct")
		for range 2 { // the second time with the renewed hash
			c.requireGood(t, auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret("correct horse")})
			require.True(t, strings.HasPrefix(c.hash(t, name), "$argon2id-bound$v=19$m=19456,t=2,p=1$"), name)
			c.requireBad(t, auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret("correct horse ")})
			c.requireBad(t, auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret("")})
		}
	}
	c.requireBad(t, auth.KeyPair{AccessKey: "nobody", AccessSecret: auth.NewSecret("correct horse")})
}

func TestAnImportedSecretIsBoundToItsKeyAndPeppered(t *testing.T) {
	t.Parallel()
	first, second := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true, Peppers: []auth.SymmetricKey{first}})
	pair := auth.KeyPair{AccessKey: "reporting", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, c.Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: "u1", AccessKey: pair.AccessKey, Secret: pair.AccessSecret,
	}))
	require.Contains(t, c.hash(t, "reporting"), ",k=p1$")
	c.requireGood(t, pair)

	require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
		ID: "mallory's", UserID: "u2", Hash: c.hash(t, "reporting"), CreatedAt: c.clock.Now()}))
	c.requireBad(t, auth.KeyPair{AccessKey: "mallory's", AccessSecret: pair.AccessSecret})

	c.configure(t, auth.CredentialConfig{AllowImported: true, Peppers: []auth.SymmetricKey{second, first}})
	c.requireGood(t, pair)
	require.Contains(t, c.hash(t, "reporting"), ",k=p2$")
	c.configure(t, auth.CredentialConfig{AllowImported: true, Peppers: []auth.SymmetricKey{first}})
	c.requireBad(t, pair)
}

func TestInvalidImportedKeysAreRejected(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true})
	secret := auth.NewSecret("correct horse")
	taken := auth.ImportedKey{UserID: "u1", AccessKey: "taken", Secret: secret}
	require.NoError(t, c.Import(t.Context(), authtest.ByHost, taken))
	generated := c.GeneratePair()
	cheap, err := bcrypt.GenerateFromPassword([]byte("x"), 9)
	require.NoError(t, err)
	bound := c.hash(t, "taken")

	for name, test := range map[string]struct {
		key  auth.ImportedKey
		want error
	}{
		"a taken name":                             {auth.ImportedKey{AccessKey: "taken", Secret: secret}, auth.ErrExists},
		"an unknown user":                          {auth.ImportedKey{UserID: "nobody", AccessKey: "x", Secret: secret}, auth.ErrNotFound},
		"a name that paths normalize":              {auth.ImportedKey{AccessKey: "..", Secret: secret}, auth.ErrInvalid},
		"no name":                                  {auth.ImportedKey{Secret: secret}, auth.ErrInvalid},
		"a name of 129 bytes":                      {auth.ImportedKey{AccessKey: strings.Repeat("x", 129), Secret: secret}, auth.ErrInvalid},
		"a name with NUL":                          {auth.ImportedKey{AccessKey: "a\x00", Secret: secret}, auth.ErrInvalid},
		"the name of a generated key":              {auth.ImportedKey{AccessKey: generated.AccessKey, Secret: secret}, auth.ErrInvalid},
		"a name with the prefix of generated keys": {auth.ImportedKey{AccessKey: "ak_live_x", Secret: secret}, auth.ErrInvalid},
		"the prefix after white space":             {auth.ImportedKey{AccessKey: "\n ak_live_x", Secret: secret}, auth.ErrInvalid},
		"the prefix in upper case":                 {auth.ImportedKey{AccessKey: "AK_LIVE_x", Secret: secret}, auth.ErrInvalid},
		"a name with the prefix of secrets":        {auth.ImportedKey{AccessKey: "as_live_x", Secret: secret}, auth.ErrInvalid},
		"neither hash nor secret":                  {auth.ImportedKey{AccessKey: "x"}, auth.ErrInvalid},
		"both hash and secret":                     {auth.ImportedKey{AccessKey: "x", Hash: phc("x", 8192, 1, 1), Secret: secret}, auth.ErrInvalid},
		"a secret of 7 bytes":                      {auth.ImportedKey{AccessKey: "x", Secret: auth.NewSecret("1234567")}, auth.ErrInvalid},
		"a secret of 1025 bytes":                   {auth.ImportedKey{AccessKey: "x", Secret: auth.NewSecret(strings.Repeat("x", 1025))}, auth.ErrInvalid},
		"an expiry of now":                         {auth.ImportedKey{AccessKey: "x", Secret: secret, KeyOptions: auth.KeyOptions{ExpiresAt: c.clock.Now()}}, auth.ErrInvalid},
		"a secret as hash":                         {auth.ImportedKey{AccessKey: "x", Hash: "correct horse"}, auth.ErrInvalid},
		"a bare SHA-256":                           {auth.ImportedKey{AccessKey: "x", Hash: fmt.Sprintf("%x", sha256.Sum256(nil))}, auth.ErrInvalid},
		"the stored form of an imported SHA-256":   {auth.ImportedKey{AccessKey: "x", Hash: "$sha256-imported$v=1$" + strings.Repeat("A", 43)}, auth.ErrInvalid},
		"a SHA-256 of 31 bytes":                    {auth.ImportedKey{AccessKey: "x", GeneratedSHA256: strings.Repeat("0", 62)}, auth.ErrInvalid},
		"a SHA-256 of 33 bytes":                    {auth.ImportedKey{AccessKey: "x", GeneratedSHA256: strings.Repeat("0", 66)}, auth.ErrInvalid},
		"a SHA-256 in base64":                      {auth.ImportedKey{AccessKey: "x", GeneratedSHA256: strings.Repeat("A", 42) + "=="}, auth.ErrInvalid},
		"a SHA-256 beside a hash":                  {auth.ImportedKey{AccessKey: "x", GeneratedSHA256: strings.Repeat("0", 64), Hash: phc("x", 8192, 1, 1)}, auth.ErrInvalid},
		"a key created in the future":              {auth.ImportedKey{AccessKey: "x", Secret: secret, CreatedAt: c.clock.Now().Add(time.Second)}, auth.ErrInvalid},
		"the stored form of an imported secret":    {auth.ImportedKey{AccessKey: "x", Hash: bound}, auth.ErrInvalid},
		"a fast hash":                              {auth.ImportedKey{AccessKey: "x", Hash: "$sha256$v=1$" + strings.Repeat("A", 43)}, auth.ErrInvalid},
		"bcrypt of cost 9":                         {auth.ImportedKey{AccessKey: "x", Hash: string(cheap)}, auth.ErrInvalid},
		"bcrypt of cost 14":                        {auth.ImportedKey{AccessKey: "x", Hash: "$2a$14" + string(cheap)[6:]}, auth.ErrInvalid},
		"bcrypt of cost 31 (runs a day)":           {auth.ImportedKey{AccessKey: "x", Hash: "$2a$31" + string(cheap)[6:]}, auth.ErrInvalid},
		"bcrypt that can match no secret":          {auth.ImportedKey{AccessKey: "x", Hash: bcrypted[:59] + "D"}, auth.ErrInvalid},
		"bcrypt $2x$":                              {auth.ImportedKey{AccessKey: "x", Hash: "$2x$10" + string(cheap)[6:]}, auth.ErrInvalid},
		"argon2id of 7 MiB":                        {auth.ImportedKey{AccessKey: "x", Hash: phc("x", 7*1024, 1, 1)}, auth.ErrInvalid},
		"argon2id of 65 MiB":                       {auth.ImportedKey{AccessKey: "x", Hash: phc("x", 65*1024, 1, 1)}, auth.ErrInvalid},
		"argon2id of t=5":                          {auth.ImportedKey{AccessKey: "x", Hash: phc("x", 8192, 5, 1)}, auth.ErrInvalid},
		"argon2id of t=0 (panics)":                 {auth.ImportedKey{AccessKey: "x", Hash: strings.Replace(phc("x", 8192, 1, 1), "t=1", "t=0", 1)}, auth.ErrInvalid},
		"argon2id of p=5":                          {auth.ImportedKey{AccessKey: "x", Hash: phc("x", 8192, 1, 5)}, auth.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.key.UserID == "" {
				test.key.UserID = "u1"
			}
			err := c.Import(t.Context(), authtest.ByHost, test.key)
			require.ErrorIs(t, err, test.want)
			require.NotContains(t, err.Error(), "correct horse")
		})
	}

	closed := newCredentials(t, auth.CredentialConfig{})
	require.ErrorIs(t, closed.Import(t.Context(), authtest.ByHost, taken), auth.ErrInvalid,
		"without AllowImported")
	peppered := newCredentials(t, auth.CredentialConfig{
		AllowImported: true, Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p")},
	})
	require.ErrorIs(t, peppered.Import(t.Context(), authtest.ByHost,
		auth.ImportedKey{UserID: "u1", AccessKey: "x", Hash: phc("x", 8192, 1, 1)}), auth.ErrInvalid)
}

func TestABcryptSecretLongerThan72BytesIsRejectedNotTruncated(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true})
	secret := strings.Repeat("x", 72)
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), 10)
	require.NoError(t, err)
	require.NoError(t, c.Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: "u1", AccessKey: "legacy", Hash: string(hash),
	}))
	c.requireBad(t, auth.KeyPair{AccessKey: "legacy", AccessSecret: auth.NewSecret(secret + "y")})
	c.requireGood(t, auth.KeyPair{AccessKey: "legacy", AccessSecret: auth.NewSecret(secret)})
}

func TestImportedKeysDoNotReachTheStoreIfNotAllowed(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	require.NoError(t, c.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
		ID: "legacy", UserID: "u1", Hash: bcrypted, CreatedAt: c.clock.Now(),
	}))
	c.store = authtest.FaultyStore(c.store, func(method string) error {
		t.Error("the store is asked:", method)
		return nil
	})
	c.configure(t, auth.CredentialConfig{})
	c.requireBad(t, auth.KeyPair{AccessKey: "legacy", AccessSecret: auth.NewSecret("correct horse")})
}

// A generated pair that somebody has mistyped, or a secret in the wrong field, costs no slow hash.
func TestAPairThatResemblesAGeneratedOneDoesNotReachTheStore(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair := c.issue(t)
	c.store = authtest.FaultyStore(c.store, func(method string) error {
		t.Error("the store is asked:", method)
		return nil
	})
	c.configure(t, auth.CredentialConfig{AllowImported: true})
	for _, name := range []string{
		pair.AccessKey, pair.AccessKey[:20], strings.ToUpper(pair.AccessKey), pair.AccessSecret.Reveal(),
	} {
		c.requireBad(t, auth.KeyPair{AccessKey: name, AccessSecret: auth.NewSecret("correct horse")})
	}
}

func TestConcurrentAndWaitingSlowHashesAreLimited(t *testing.T) {
	t.Parallel()
	const slots, waiters = 2, 64
	entered, release := make(chan struct{}, 1000), make(chan struct{})
	var blocking atomic.Bool
	blocking.Store(true)
	c := newCredentials(t, auth.CredentialConfig{})
	c.store = authtest.FaultyStore(c.store, func(method string) error {
		if blocking.Load() {
			entered <- struct{}{}
			<-release
		}
		return nil
	})
	c.configure(t, auth.CredentialConfig{AllowImported: true, MaxSlowHashes: slots})

	pair := auth.KeyPair{AccessKey: "nobody", AccessSecret: auth.NewSecret("correct horse")}
	results := make(chan error)
	var clients atomic.Int32
	verify := func(ctx context.Context) {
		// Each client has its own address, because the clients of one address get only a part of
		// the queue.
		address := netip.AddrFrom4([4]byte{203, 0, 113, byte(clients.Add(1))})
		_, _, err := c.Verify(auth.WithClientInfo(ctx, auth.ClientInfo{Address: address}), pair)
		results <- err
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range slots {
		go verify(t.Context())
	}
	for range slots {
		<-entered
	}
	for range waiters + 10 {
		go verify(ctx)
	}
	// Ten clients find the queue full and are throttled at once. The others wait.
	for range 10 {
		var throttled *auth.ThrottledError
		require.ErrorAs(t, <-results, &throttled)
		require.Positive(t, throttled.RetryAfter)
	}
	require.Empty(t, entered, "only as many run as there are slots")

	// A generated secret is verified without waiting for slow hashes.
	blocking.Store(false)
	c.requireBad(t, c.GeneratePair())

	cancel()
	for range waiters {
		require.ErrorIs(t, <-results, context.Canceled)
	}
	close(release)
	for range slots {
		require.ErrorIs(t, <-results, auth.ErrInvalidCredentials)
	}
	// The queue is empty again.
	c.requireBad(t, pair)
}

func TestOneAddressGetsOnlyAShareOfTheSlowHashQueue(t *testing.T) {
	t.Parallel()
	const places, share = 33, 8
	entered, release := make(chan struct{}, places), make(chan struct{})
	c := newCredentials(t, auth.CredentialConfig{})
	c.store = authtest.FaultyStore(c.store, func(string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	c.configure(t, auth.CredentialConfig{AllowImported: true, MaxSlowHashes: 1})
	results := make(chan error, 2*places)
	ctx, cancel := context.WithCancel(t.Context())
	verify := func(ctx context.Context, address string) {
		ctx = auth.WithClientInfo(ctx, auth.ClientInfo{Address: netip.MustParseAddr(address)})
		_, _, err := c.Verify(ctx, auth.KeyPair{
			AccessKey: "nobody", AccessSecret: auth.NewSecret("correct horse"),
		})
		results <- err
	}
	requireOneThrottled := func() {
		t.Helper()
		var throttled *auth.ThrottledError
		require.ErrorAs(t, <-results, &throttled)
	}
	go verify(t.Context(), "2001:db8:1:2::1")
	<-entered
	for i := range share - 1 + 20 {
		go verify(ctx, fmt.Sprintf("2001:db8:1:2::%d", i)) // a /64 network is one client
	}
	for range 20 {
		requireOneThrottled()
	}
	for i := range 3 * share {
		go verify(ctx, fmt.Sprintf("203.0.113.%d", i/share))
	}
	go verify(ctx, "203.0.113.99") // gets the last of the 33 places
	go verify(ctx, "203.0.113.98")
	requireOneThrottled()
	cancel()
	for range places - 1 {
		require.ErrorIs(t, <-results, context.Canceled, "the waiting requests were in the queue")
	}
	close(release)
	require.ErrorIs(t, <-results, auth.ErrInvalidCredentials, "the running request completes")
	verify(t.Context(), "2001:db8:1:2::1")
	require.ErrorIs(t, <-results, auth.ErrInvalidCredentials, "the queue is free again")
}
