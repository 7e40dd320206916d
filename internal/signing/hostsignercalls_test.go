package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

const (
	maxCalls = 64 // maximum number of calls of a signer that have not returned
	callTime = 4 * time.Second
	slotTime = time.Second
)

// slowSigner returns a fake whose calls wait until release is closed or the time has passed.
func slowSigner(good crypto.Signer, takes time.Duration, release chan struct{}) (*fakeSigner, *atomic.Int64) {
	fake, calls := newFake(good), new(atomic.Int64)
	fake.sign = func(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
		calls.Add(1)
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-release:
		}
		return good.Sign(random, message, opts)
	}
	return fake, calls
}

// outcome is the result of a Sign, and how long it took.
type outcome struct {
	err  error
	took time.Duration
}

// signMany calls Sign n times at once, and returns the outcomes.
func signMany(ctx context.Context, key *signing.Key, n int) []outcome {
	outcomes := make([]outcome, n)
	var group sync.WaitGroup
	for i := range outcomes {
		group.Go(func() {
			began := time.Now()
			_, err := key.Sign(ctx, "text")
			outcomes[i] = outcome{err, time.Since(began)}
		})
	}
	group.Wait()
	return outcomes
}

// The bubble ends only when every goroutine in it has ended, so a call that leaks fails this test.
func TestASignerThatHangsHoldsCallersForABoundedTime(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for _, good := range m.signers() {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			fake, calls := slowSigner(good, time.Hour, release)
			key := signerKey(t, "id", fake)
			hung, busy := 0, 0
			for _, o := range signMany(t.Context(), key, maxCalls+10) {
				require.ErrorIs(t, o.err, signing.ErrSigner)
				switch o.took {
				case callTime:
					hung++
					require.ErrorContains(t, o.err, "has not answered for 4s: give its client a timeout")
				case slotTime:
					busy++
					require.ErrorContains(t, o.err, "is too slow: 64 calls of it were running for 1s")
				default:
					require.Fail(t, "a caller waited", o.took)
				}
			}
			require.Equal(t, []int{maxCalls, 10}, []int{hung, busy})
			for _, o := range signMany(t.Context(), key, 100) {
				require.ErrorContains(t, o.err, "hangs in 64 calls, and gets no more until one returns")
				require.Zero(t, o.took, "no call will return soon")
			}
			require.EqualValues(t, maxCalls, calls.Load())

			close(release) // all calls return, and their answers are dropped
			synctest.Wait()
			for _, o := range signMany(t.Context(), key, maxCalls) {
				require.NoError(t, o.err, "the slots are free again")
			}
		})
	}
}

// A burst of sign-ins is no reason to refuse some of them.
func TestMoreCallersThanCallsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	synctest.Test(t, func(t *testing.T) {
		fake, calls := slowSigner(m.ed, 50*time.Millisecond, nil)
		key := signerKey(t, "id", fake)
		for range 2 {
			for _, o := range signMany(t.Context(), key, 10*maxCalls) {
				require.NoError(t, o.err)
				require.LessOrEqual(t, o.took, 10*50*time.Millisecond)
			}
			time.Sleep(time.Minute) // the time since the latest call must not count without running calls
		}
		require.EqualValues(t, 20*maxCalls, calls.Load())
	})
}

// One call that returns lets one more caller in, although the others hang.
func TestACallThatReturnsLateFreesItsSlot(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		fake, _ := slowSigner(m.ed, time.Hour, release)
		key := signerKey(t, "id", fake)
		signMany(t.Context(), key, maxCalls)
		release <- struct{}{}
		synctest.Wait()
		fake.sign = m.ed.Sign
		_, err := key.Sign(t.Context(), "text")
		require.NoError(t, err)
		close(release)
	})
}

func TestACallerWhoseContextEndsDoesNotWaitForTheSigner(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		fake, calls := slowSigner(m.ec, time.Hour, release)
		key := signerKey(t, "id", fake)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := key.Sign(ended, "text")
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		require.Zero(t, calls.Load())

		soon, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		for _, o := range signMany(soon, key, maxCalls+10) { // ten of them wait for a slot
			require.ErrorIs(t, o.err, context.DeadlineExceeded)
			require.ErrorIs(t, o.err, signing.ErrSigner)
			require.Equal(t, time.Second/2, o.took)
		}
		close(release)
		synctest.Wait()
		_, err = key.Sign(t.Context(), "text")
		require.NoError(t, err)
	})
}

// The signer may use its memory again after it has returned.
func TestTheAnswerOfASignerIsCopied(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for _, good := range m.signers() {
		var last []byte
		fake := newFake(good)
		fake.sign = func(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
			clear(last)
			signature, err := good.Sign(random, message, opts)
			last = signature
			return signature, err
		}
		key := signerKey(t, "id", fake)
		first, err := key.Sign(t.Context(), "first")
		require.NoError(t, err)
		_, err = key.Sign(t.Context(), "second")
		require.NoError(t, err)
		require.True(t, key.Verify("first", first))
	}
}

// valueSigner is a signer that is not a pointer.
type valueSigner struct {
	crypto.Signer
	handle any
}

// A host may pass the same keys to SetKeys at intervals. But if it passes another signer, for example
// with a new connection, that signer must be used from then on.
func TestSignerKeysAreEqualIfTheirSignersAre(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	fake := newFake(m.ec)
	at := time.Unix(1_700_000_000, 0)
	key := signerKey(t, "es", fake)
	edKey := signerKey(t, "ed", m.ed)
	for name, test := range map[string]struct {
		a, b *signing.Key
		want bool
	}{
		"the key itself":             {key, key, true},
		"the same signer":            {key, signerKey(t, "es", fake), true},
		"both retired":               {key.RetiredAt(at), signerKey(t, "es", fake).RetiredAt(at), true},
		"one is retired":             {key, key.RetiredAt(at), false},
		"another id":                 {key, signerKey(t, "other", fake), false},
		"another signer, the key":    {key, signerKey(t, "es", newFake(m.ec)), false},
		"a local key":                {key, m.keys(t)["ES256"], false},
		"the private key as signer":  {signerKey(t, "es", m.ec), m.keys(t)["ES256"], false},
		"the same private key":       {signerKey(t, "es", m.ec), signerKey(t, "es", m.ec), true},
		"equal values":               {signerKey(t, "es", valueSigner{m.ec, 1}), signerKey(t, "es", valueSigner{m.ec, 1}), true},
		"other values":               {signerKey(t, "es", valueSigner{m.ec, 1}), signerKey(t, "es", valueSigner{m.ec, 2}), false},
		"values without ==":          {signerKey(t, "es", valueSigner{m.ec, []int{1}}), signerKey(t, "es", valueSigner{m.ec, []int{1}}), false},
		"a slice, the same key":      {edKey, edKey.RetiredAt(at), false},
		"a slice, both retired":      {edKey.RetiredAt(at), edKey.RetiredAt(at), true},
		"a slice, made twice":        {edKey, signerKey(t, "ed", m.ed), false},
		"a remote issuer's same key": {key, remoteKey(t, key), false},
	} {
		require.Equal(t, test.want, test.a.Equal(test.b), name)
		require.Equal(t, test.want, test.b.Equal(test.a), name)
	}
}

// remoteKey returns the key as a remote verifier has it.
func remoteKey(t *testing.T, key *signing.Key) *signing.Key {
	t.Helper()
	ring, err := signing.NewRing([]*signing.Key{key})
	require.NoError(t, err)
	public, err := signing.ParseJWKS(ring.JWKS())
	require.NoError(t, err)
	return public.ByID(key.ID())
}

// FuzzDERSignature checks that exactly the signatures that ecdsa.VerifyASN1 accepts are accepted,
// and that exactly the canonical encodings of two numbers in range are parsed. The package
// encoding/asn1, which parses more, makes the canonical encoding.
func FuzzDERSignature(f *testing.F) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	require.NoError(f, err)
	digest, n := sha256.Sum256([]byte("text")), elliptic.P256().Params().N
	for range 4 {
		der, err := private.Sign(nil, digest[:], crypto.SHA256) // deterministic
		require.NoError(f, err)
		f.Add(der)
		r, s := decode(f, der).R, decode(f, der).S
		f.Add(encode(f, r, new(big.Int).Sub(n, s)))
		f.Add(padded(r, s))
		f.Add(raw64(r, s))
		f.Add(append(der, 0))
		f.Add(encode(f, n, new(big.Int).Sub(n, big.NewInt(1))))
	}
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 6, 2, 1, 0, 2, 1, 0x80})
	fake := newFake(private)
	key := signerKey(f, "id", fake)
	f.Fuzz(func(t *testing.T, der []byte) {
		fake.sign = func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return der, nil }
		signature, err := key.Sign(context.Background(), "text")
		require.Equal(t, ecdsa.VerifyASN1(&private.PublicKey, digest[:], der), err == nil)
		if err == nil {
			require.True(t, key.Verify("text", signature))
			return
		}
		require.ErrorIs(t, err, signing.ErrSigner)
		parsed := !strings.Contains(err.Error(), "not an ECDSA signature in ASN.1 DER")
		require.Equal(t, isCanonical(der, n), parsed, "%x: %v", der, err)
	})
}

// isCanonical reports whether der is the canonical encoding of two numbers from 1 to n-1.
func isCanonical(der []byte, n *big.Int) bool {
	var signature ecdsaSignature
	if rest, err := asn1.Unmarshal(der, &signature); err != nil || len(rest) > 0 {
		return false
	}
	for _, x := range []*big.Int{signature.R, signature.S} {
		if x.Sign() <= 0 || x.Cmp(n) >= 0 {
			return false
		}
	}
	encoded, err := asn1.Marshal(signature)
	return errors.Join(err) == nil && bytes.Equal(encoded, der)
}
