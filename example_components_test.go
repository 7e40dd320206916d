package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// withUser returns a store with one user. The user has one access key, which is never accepted.
func withUser(id, username string) *memstore.Store {
	store := memstore.New()
	err := store.Register(context.Background(), auth.Write{By: auth.ByHost("setup"), Now: time.Now},
		auth.User{ID: id, Username: username, IsActive: true, CreatedAt: time.Now()},
		auth.AccessKey{ID: "unused", UserID: id, Hash: "unused", CreatedAt: time.Now()})
	if err != nil {
		log.Fatal(err)
	}
	return store
}

// A program that has its own sessions uses access keys without tokens.
func ExampleCredentialVerifier() {
	ctx := context.Background()
	keys, err := auth.NewCredentialVerifier(withUser("u1", "alice"), nil, auth.CredentialConfig{
		AccessKeyPrefix:    "acme_key",
		AccessSecretPrefix: "acme_secret",
	})
	if err != nil {
		log.Fatal(err)
	}
	pair, err := keys.Issue(ctx, auth.ByHost("setup"), "u1", auth.KeyOptions{Label: "build server"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pair.AccessKey[:9], pair.AccessSecret) // only Reveal returns the secret

	key, user, err := keys.Verify(ctx, pair)
	fmt.Println(user.Username, key.Label, err)

	if err := keys.Revoke(ctx, auth.ByHost("setup"), pair.AccessKey); err != nil {
		log.Fatal(err)
	}
	_, _, err = keys.Verify(ctx, pair)
	fmt.Println(errors.Is(err, auth.ErrInvalidCredentials))
	// Output:
	// acme_key_ [redacted]
	// alice build server <nil>
	// true
}

// A program that signs users in by other means uses tokens without access keys.
func ExampleTokenIssuer() {
	ctx := context.Background()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := auth.NewTokenIssuer(withUser("u1", "alice"), "https://api.example.com",
		[]auth.SigningKey{key},
		auth.TokenConfig{Lifetime: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	token, err := tokens.Issue(ctx, auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := tokens.Verify(ctx, token.Bearer.Reveal())
	fmt.Println(caller.Username, token.ExpiresIn(), err)

	if err := tokens.Revoke(ctx, caller.Authority(), caller.SessionID); err != nil {
		log.Fatal(err)
	}
	_, err = tokens.Verify(ctx, token.Bearer.Reveal())
	fmt.Println(errors.Is(err, auth.ErrTokenRejected))
	// Output:
	// alice 1h0m0s <nil>
	// true
}
