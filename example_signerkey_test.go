package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/sallyport-go/auth"
)

// kmsClient is the part of a KMS's client that a signing key needs. Each KMS has its own client, so a
// host writes a small type with these methods.
type kmsClient interface {
	// PublicKey returns the public key in PKIX form (AWS: GetPublicKey).
	PublicKey(ctx context.Context, keyID string) ([]byte, error)

	// SignDigest returns a signature in ASN.1 DER (AWS: Sign with MessageType DIGEST and
	// SigningAlgorithm ECDSA_SHA_256; Google Cloud: AsymmetricSign with Digest).
	SignDigest(ctx context.Context, keyID string, digest []byte) ([]byte, error)
}

// kmsSigner is a crypto.Signer whose private key never leaves the KMS.
type kmsSigner struct {
	client kmsClient
	keyID  string
	public crypto.PublicKey
}

func newKMSSigner(ctx context.Context, client kmsClient, keyID string) (*kmsSigner, error) {
	der, err := client.PublicKey(ctx, keyID)
	if err != nil {
		return nil, err
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	return &kmsSigner{client, keyID, public}, nil
}

func (s *kmsSigner) Public() crypto.PublicKey { return s.public }

func (s *kmsSigner) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return s.client.SignDigest(ctx, s.keyID, digest)
}

// A service signs tokens with a key in a KMS, so nobody can copy the private key from the service.
func ExampleNewSignerKey() {
	ctx := context.Background()
	signer, err := newKMSSigner(ctx, newFakeKMS(), "alias/tokens")
	if err != nil {
		log.Fatal(err)
	}
	key, err := auth.NewSignerKey("", signer) // the ID is derived from the public key
	if err != nil {
		log.Fatal(err)
	}

	svc, err := newService(withUser("u1", "alice"), key)
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.SignIn(ctx, "u1", auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := svc.Tokens().Verify(ctx, token.Bearer.Reveal()) // does not call the KMS
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(caller.Username)
	// Output: alice
}

// fakeKMS keeps one key in memory.
type fakeKMS struct{ private *ecdsa.PrivateKey }

func newFakeKMS() kmsClient {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return fakeKMS{private}
}

func (f fakeKMS) PublicKey(context.Context, string) ([]byte, error) {
	return x509.MarshalPKIXPublicKey(&f.private.PublicKey)
}

func (f fakeKMS) SignDigest(_ context.Context, _ string, digest []byte) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, f.private, digest)
}
