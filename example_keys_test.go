package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"regexp"
	"time"

	"github.com/sallyport-go/auth"
)

// An access key gets a new secret. The previous secret works for one more day, so that clients can
// switch to the new secret.
func ExampleCredentialVerifier_Rotate() {
	ctx := context.Background()
	keys, err := auth.NewCredentialVerifier(withUser("u1", "alice"), nil, auth.CredentialConfig{})
	if err != nil {
		log.Fatal(err)
	}
	pair, err := keys.Issue(ctx, auth.ByHost("setup"), "u1", auth.KeyOptions{Label: "build server"})
	if err != nil {
		log.Fatal(err)
	}
	next, err := keys.Rotate(ctx, auth.ByHost("setup"), pair.AccessKey, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	_, _, errOld := keys.Verify(ctx, pair)
	_, _, errNew := keys.Verify(ctx, next)
	fmt.Println(errOld, errNew)
	// Output: <nil> <nil>
}

// A program searches a published text for access secrets of this service, and revokes their access
// keys.
func ExampleCredentialVerifier_RevokeLeaked() {
	ctx := context.Background()
	keys, err := auth.NewCredentialVerifier(withUser("u1", "alice"), nil, auth.CredentialConfig{})
	if err != nil {
		log.Fatal(err)
	}
	pair, err := keys.Issue(ctx, auth.ByHost("setup"), "u1", auth.KeyOptions{Label: "build server"})
	if err != nil {
		log.Fatal(err)
	}
	published := "export SECRET=" + pair.AccessSecret.Reveal() + " # TODO: remove"

	for _, found := range regexp.MustCompile(keys.SecretPattern()).FindAllString(published, -1) {
		key, err := keys.RevokeLeaked(ctx, auth.NewSecret(found))
		switch {
		case errors.Is(err, auth.ErrInvalidCredentials):
			continue // not a secret, or a secret that no longer works
		case err != nil:
			log.Fatal(err)
		}
		fmt.Println("revoked the key of", key.UserID, "for the", key.Label)
	}
	_, _, err = keys.Verify(ctx, pair)
	fmt.Println(err)
	// Output:
	// revoked the key of u1 for the build server
	// auth: invalid access key or secret: no such key
}
