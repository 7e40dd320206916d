package workload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/keyset"
)

const (
	freshFor  = 15 * time.Minute // older keys are read again before they are used
	goodFor   = 6 * time.Hour    // if the issuer does not answer, its keys are used until they are this old
	fetchGap  = 10 * time.Second // least time between the beginnings of two reads
	fetchTime = 5 * time.Second  // deadline of a read
	patience  = 2 * time.Second  // how long a request waits for a read while older keys are good
	logGap    = 10 * time.Minute // least time between two log lines of one outage

	maxKeys    = 64
	minRSABits = 2048
	maxRSABits = 8192 // larger keys take milliseconds
)

// algorithms are the accepted signatures.
var algorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}

// publicKey is a key of an issuer. It verifies signatures of one algorithm.
type publicKey struct {
	id, algorithm string
	key           crypto.PublicKey
}

// keySet has the public keys of an issuer. It reads them when they are needed. At most one read runs at a
// time, in a goroutine of its own, and all requests use its result.
type keySet struct {
	setting Issuer
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger

	mu      sync.Mutex
	keys    []publicKey
	read    time.Time     // when the read that returned keys began; zero if none has succeeded
	tried   time.Time     // when the latest read began
	reading chan struct{} // closed when the running read has ended; nil if no read runs
	failure error         // the error of the latest read that has ended
	logged  time.Time     // when the log last got a line about an outage; zero if there is no outage

	refusals keyset.Refusals // since the last success
}

func newKeySet(setting Issuer, now func() time.Time, log *slog.Logger) *keySet {
	return &keySet{setting: setting, client: newClient(setting), now: now, log: log}
}

// errKeyUnknown means that the issuer has no key with the ID and the algorithm.
var errKeyUnknown = errors.New("the issuer has no such key")

// find returns the keys of the issuer with the ID and the algorithm, at least one. If they are not known, or
// were read too long ago, find reads the keys of the issuer again, but not more often than fetchGap allows.
// It returns errKeyUnknown if there is no such key, and another error if the keys could not be read, or not
// in time.
func (k *keySet) find(ctx context.Context, id, algorithm string) ([]crypto.PublicKey, error) {
	now := k.now()
	k.mu.Lock()
	found, old := k.lookUp(id, algorithm, now)
	if len(found) > 0 && old < freshFor {
		k.mu.Unlock()
		return found, nil
	}
	reading, unfinished := k.begin(now), false
	k.mu.Unlock()
	if reading != nil {
		limit := fetchTime
		if len(found) > 0 {
			limit = patience
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		select {
		case <-reading:
		case <-ctx.Done():
			unfinished = true // the key can be a new one
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found, old = k.lookUp(id, algorithm, now)
	switch {
	case len(found) > 0:
		return found, nil
	case k.failure != nil:
		return nil, fmt.Errorf("workload: reading the keys of %s: %w", k.setting.URL, k.failure)
	case unfinished, k.read.IsZero(), old >= goodFor:
		return nil, fmt.Errorf("workload: the keys of %s have not been read yet", k.setting.URL)
	}
	return nil, errKeyUnknown
}

// lookUp returns the keys with the ID and the algorithm, and the age of all keys. It returns no keys if they
// are too old. The caller must hold the lock.
func (k *keySet) lookUp(id, algorithm string, now time.Time) (found []crypto.PublicKey, old time.Duration) {
	old = clock.AgeOfStored(now, k.read)
	if old >= goodFor {
		return nil, old
	}
	for _, key := range k.keys {
		if key.id == id && key.algorithm == algorithm {
			found = append(found, key.key)
		}
	}
	return found, old
}

// begin returns the running read, and starts one if none runs. If it is too early for another, the result is
// nil. The caller must hold the lock.
func (k *keySet) begin(now time.Time) <-chan struct{} {
	if k.reading == nil && (k.tried.IsZero() || clock.AgeOfStored(now, k.tried) >= fetchGap) {
		k.reading, k.tried = make(chan struct{}), now
		go k.fetch(now, k.reading)
	}
	return k.reading
}

// fetch reads the keys. It does not use the context of a request: if that request were canceled, others
// would get no keys.
func (k *keySet) fetch(now time.Time, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	keys, err := k.download(ctx)
	if err != nil {
		err = shortError(err)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(done)
	k.reading, k.failure = nil, err
	var status statusError
	switch {
	case err == nil:
		k.keys, k.read = keys, now
		k.refusals.Reset()
	case errors.As(err, &status) && status.isRefusal(k.setting.TokenFile != ""):
		k.countRefusal(now)
	}
	k.report(now, err)
}

// countRefusal counts a read that the issuer has refused, and forgets the keys if the refusals are final. The
// caller must hold the lock.
func (k *keySet) countRefusal(now time.Time) {
	k.refusals.Add(now)
	if k.keys != nil && k.refusals.Final() {
		k.keys = nil
		k.log.Error("workload: an issuer keeps refusing to return its keys: the known ones are not used any "+
			"more", "issuer", k.setting.URL, "refusals", k.refusals.Count())
	}
}

// report writes the beginning and the end of an outage to the log. The caller must hold the lock.
func (k *keySet) report(now time.Time, err error) {
	switch {
	case err != nil && (k.logged.IsZero() || clock.Age(now, k.logged) >= logGap):
		k.log.Error("workload: the keys of an issuer cannot be read", "issuer", k.setting.URL, "error", err)
		k.logged = now
	case err == nil && !k.logged.IsZero():
		k.log.Info("workload: the keys of an issuer can be read again", "issuer", k.setting.URL)
		k.logged = time.Time{}
	}
}

// download returns the present keys of the issuer. A panic becomes an error, because it would end the
// process in this goroutine.
func (k *keySet) download(ctx context.Context) (keys []publicKey, err error) {
	defer func() {
		if p := recover(); p != nil {
			keys, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	keysURL := k.setting.KeysURL
	if keysURL == "" {
		if keysURL, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	text, err := get(ctx, k.client, keysURL, k.setting.TokenFile)
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// discover returns the jwks_uri of the issuer (OpenID Connect Discovery 1.0, section 4).
func (k *keySet) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.setting.URL)
	if err != nil {
		return "", err
	}
	var document struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return "", errors.New("the document at /.well-known/openid-configuration is not valid")
	}
	if err := checkURL(document.KeysURL); err != nil {
		return "", fmt.Errorf("the jwks_uri of the issuer %w", err)
	}
	return document.KeysURL, nil
}

// shortError removes the URL from an error of an [http.Client], and cuts its text, which can contain the
// answer of the issuer.
func shortError(err error) error {
	const limit = 256
	if failure, ok := errors.AsType[*url.Error](err); ok {
		err = failure.Err
	}
	if text := err.Error(); len(text) > limit {
		return errors.New(readable(text, limit))
	}
	return err
}

// parseKeys returns the keys of a JWK set (RFC 7517, section 5) that can verify assertions. It ignores all
// others, and so the symmetric keys.
func parseKeys(text []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New("the answer of the issuer is not a JWK set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the issuer has %d keys; at most %d are allowed", len(set.Keys), maxKeys)
	}
	var keys []publicKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || !isWhole(raw, key.Key) {
			continue
		}
		names := algorithmsOf(key.Key)
		if key.KeyID == "" || len(names) == 0 || key.Use != "" && key.Use != "sig" ||
			key.Algorithm != "" && !slices.Contains(names, key.Algorithm) {
			continue
		}
		keys = append(keys, publicKey{key.KeyID, names[0], key.Key})
	}
	return keys, nil
}

// isWhole reports whether the key is that of the JWK. Package jose adds zeros to an Ed25519 key that is too
// short, and uses only the last 64 bits of the exponent of an RSA key.
func isWhole(raw []byte, key any) bool {
	var given struct{ X, E string }
	if json.Unmarshal(raw, &given) != nil {
		return false
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return given.X == base64.RawURLEncoding.EncodeToString(key)
	case *rsa.PublicKey:
		return len(given.E) <= base64.RawURLEncoding.EncodedLen(4) // crypto/rsa accepts at most 31 bits
	}
	return true
}

// algorithmsOf returns the names of the algorithm of a public key in JWK sets, that of the header of a JWT
// first. It returns nil for a key that is not accepted.
func algorithmsOf(key any) []string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return []string{oidc.RS256}
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return []string{oidc.ES256}
		}
	case ed25519.PublicKey:
		return []string{oidc.EdDSA, "Ed25519"} // RFC 9864, section 2.2
	}
	return nil
}
