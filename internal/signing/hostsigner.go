package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/text"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	callTime = 4 * time.Second // how long a signature waits for the signer
	slotTime = time.Second     // how long a signature waits before that, until it may call the signer
	maxCalls = 64              // maximum number of calls of one signer that have not returned
)

// ErrSigner means that the signer of a key of [NewSignerKey] has failed.
var ErrSigner = errors.New("the signer of a key failed")

// signerError is an ErrSigner with a text that says what to change. If the context of the caller
// ended, cause is the error of the context. If the signer returned an error, the text contains its
// text, but signerError does not wrap it. Otherwise a signer could return an error that the library
// takes for another one, such as a rejection of the user.
type signerError struct {
	text  string
	cause error // nil, or the error of the caller's context
}

func (e *signerError) Error() string { return e.text }

func (e *signerError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrSigner}
	}
	return []error{ErrSigner, e.cause}
}

// hostSigner signs with a signer of the host. It does not trust the signer: the signer can hang,
// panic or return anything.
type hostSigner struct {
	key    Key // verifies the signatures; it has no signer
	signer crypto.Signer

	slots chan struct{} // has an element for each call that has not returned

	mu    sync.Mutex
	began time.Time // when the latest call began
}

// NewSignerKey returns a key whose private half only the signer can use. The public key of the
// signer determines the algorithm, ES256 or EdDSA. NewSignerKey reads and copies the public key, and
// calls signer.Public only this once. If id is empty, NewSignerKey derives an ID from the public
// key, as [NewES256Key] and [NewEdDSAKey] do.
func NewSignerKey(id string, signer crypto.Signer) (*Key, error) {
	if defaults.IsNil(signer) {
		return nil, errors.New("auth: NewSignerKey needs a signer")
	}
	public, err := askPublic(signer)
	if err != nil {
		return nil, fmt.Errorf("auth: NewSignerKey: the signer (%T) %w", signer, err)
	}
	var key *Key
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		key, err = newES256PublicKey(id, public)
	case ed25519.PublicKey:
		key, err = newEdDSAPublicKey(id, public)
	}
	if err != nil {
		return nil, err
	}
	key.signer = &hostSigner{key: *key, signer: signer, slots: make(chan struct{}, maxCalls)}
	return key, nil
}

// askPublic returns a copy of the signer's public key, which is an *ecdsa.PublicKey on P-256 or an
// ed25519.PublicKey. The text of an error continues a sentence whose subject is the signer.
func askPublic(signer crypto.Signer) (public crypto.PublicKey, err error) {
	defer func() { // the encoding of a key with nil in it can panic, too
		if p := recover(); p != nil {
			public, err = nil, fmt.Errorf("panicked in Public: %s: make Public return the public key",
				panicText(p))
		}
	}()
	switch public := signer.Public().(type) {
	case *ecdsa.PublicKey:
		if public == nil {
			return nil, errors.New("has a nil public key: make Public return the public key")
		}
		if public.Curve != elliptic.P256() {
			return nil, errors.New("has an ECDSA key on another curve: use a key on P-256")
		}
		point, err := public.Bytes()
		if err != nil {
			return nil, fmt.Errorf("has a public key that is not valid: %w", err)
		}
		copied, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, fmt.Errorf("has a public key that is not valid: %w", err)
		}
		return copied, nil
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("has an Ed25519 public key of %d bytes: it must be %d", len(public),
				ed25519.PublicKeySize)
		}
		if public.Equal(make(ed25519.PublicKey, ed25519.PublicKeySize)) {
			// This is a point of low order, so anyone could make signatures that it verifies.
			return nil, errors.New("has an Ed25519 public key of zeros: make Public return the public key")
		}
		return ed25519.PublicKey(bytes.Clone(public)), nil
	default:
		return nil, fmt.Errorf("has a public key of the type %T: use a key whose Public is an "+
			"*ecdsa.PublicKey on P-256 or an ed25519.PublicKey", public)
	}
}

// panicText describes the value of a panic. It contains the text of the runtime's own errors, such as
// an index out of range. Of any other value, it contains only the type, because the value can have
// parts of the signer, such as its PIN.
func panicText(p any) (text string) {
	text = fmt.Sprintf("with a value of the type %T", p)
	defer func() { _ = recover() }() // the method Error of the host's own type can panic, too
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return text
}

// same reports whether both keys sign with the same signer. It is true if neither key has one.
func (s *hostSigner) same(other *hostSigner) bool {
	if s == other || s == nil || other == nil {
		return s == other
	}
	// Comparing values that contain, for example, a slice would panic.
	return reflect.ValueOf(s.signer).Comparable() && reflect.ValueOf(other.signer).Comparable() &&
		s.signer == other.signer
}

// fail returns an error about the signer. The format continues a sentence whose subject is the
// signer.
func (s *hostSigner) fail(format string, args ...any) error {
	return &signerError{text: fmt.Sprintf("the signer (%T) of the key %q ", s.signer, s.key.id) +
		fmt.Sprintf(format, args...)}
}

// canceled returns an error that wraps err, the error of a caller's context.
func (s *hostSigner) canceled(err error) error {
	return &signerError{cause: err,
		text: fmt.Sprintf("waiting for the signer (%T) of the key %q: %v", s.signer, s.key.id, err)}
}

// answer is the result of a call of the signer.
type answer struct {
	signature []byte
	err       error
}

// sign returns a signature of the text. It returns an error if the signer does not make one in time,
// or if ctx is done first.
//
// A crypto.Signer cannot be canceled, so the call has a goroutine of its own, which ends when the
// signer returns. If sign does not wait any longer, nobody receives the answer.
func (s *hostSigner) sign(ctx context.Context, text string) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	answered := make(chan answer, 1) // buffered, so that a late answer does not block the goroutine
	go s.call(text, answered)
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.signature, a.err
	case <-ctx.Done():
		return nil, s.canceled(ctx.Err())
	case <-timer.C:
		return nil, s.fail("has not answered for %v: give its client a timeout below that, and check "+
			"its connection", callTime)
	}
}

// enter waits until the signer may be called, and takes a slot. It returns an error if no slot
// becomes free in time. If the latest call, too, takes longer than callTime, no call will probably
// return soon, and enter does not wait.
func (s *hostSigner) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return s.canceled(err)
	}
	s.mu.Lock()
	select {
	case s.slots <- struct{}{}:
		s.began = time.Now()
		s.mu.Unlock()
		return nil
	default:
	}
	hanging := time.Since(s.began) >= callTime
	s.mu.Unlock()
	if hanging {
		return s.fail("hangs in %d calls, and gets no more until one returns: give its client a timeout",
			maxCalls)
	}
	timer := time.NewTimer(slotTime)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		s.mu.Lock()
		s.began = time.Now()
		s.mu.Unlock()
		return nil
	case <-ctx.Done():
		return s.canceled(ctx.Err())
	case <-timer.C:
		return s.fail("is too slow: %d calls of it were running for %v; give it more capacity", maxCalls,
			slotTime)
	}
}

// call calls the signer, and sends its answer. A panic of the signer becomes an error, because a
// panic in this goroutine would end the process.
func (s *hostSigner) call(text string, answered chan<- answer) {
	a := answer{err: s.fail("called runtime.Goexit: make it return an error instead")}
	defer func() {
		<-s.slots // freed before the answer, so that the caller can take a slot right after it
		answered <- a
	}()
	defer func() {
		if p := recover(); p != nil {
			a = answer{err: s.fail("panicked: %s: make it return an error instead", panicText(p))}
		}
	}()
	signature, err := s.ask(text)
	a = answer{signature, err}
}

// ask calls the signer, and returns the signature in the form of a token (RFC 7518, section 3.4, and
// RFC 8037, section 3.1). It returns only a signature that the public key verifies.
func (s *hostSigner) ask(message string) ([]byte, error) {
	var signature []byte
	if _, isECDSA := s.key.public.(*ecdsa.PublicKey); isECDSA {
		digest := sha256.Sum256([]byte(message))
		der, err := s.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, s.fail("returned an error: %s", text.Readable(err.Error(), text.MaxErrorText))
		}
		var ok bool
		if signature, ok = parseDER(der); !ok {
			return nil, s.fail("returned %d bytes that are not an ECDSA signature in ASN.1 DER: make it "+
				"return the form of ecdsa.SignASN1", len(der))
		}
	} else {
		answer, err := s.signer.Sign(rand.Reader, []byte(message), crypto.Hash(0))
		if err != nil {
			return nil, s.fail("returned an error: %s", text.Readable(err.Error(), text.MaxErrorText))
		}
		if len(answer) != ed25519.SignatureSize {
			return nil, s.fail("returned %d bytes: a signature of Ed25519 has %d", len(answer),
				ed25519.SignatureSize)
		}
		signature = bytes.Clone(answer) // the signer may use its memory again
	}
	if !s.key.Verify(message, signature) {
		return nil, s.fail("returned a signature that its public key does not verify: make it sign the " +
			"bytes that it gets, with the key that Public returned to NewSignerKey")
	}
	return signature, nil
}

// parseDER converts an ECDSA signature on P-256 from ASN.1 DER into r and s of 32 bytes each, with
// the smaller of the two possible values of s: see [lowS]. It reports false if the argument is
// anything but the DER form of two numbers in the range from 1 to the order of the curve minus 1.
func parseDER(der []byte) (signature []byte, ok bool) {
	var rBytes, sBytes []byte
	var inner cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&rBytes) || !inner.ReadASN1Integer(&sBytes) || !inner.Empty() {
		return nil, false
	}
	r, s := new(big.Int).SetBytes(rBytes), new(big.Int).SetBytes(sBytes)
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(curveOrder) >= 0 || s.Cmp(curveOrder) >= 0 {
		return nil, false
	}
	if s.Cmp(halfCurveOrder) > 0 {
		s.Sub(curveOrder, s)
	}
	signature = make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, true
}
