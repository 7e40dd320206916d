package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// newService returns a service with the store, for a program of an operator. The program must have the
// peppers of the service, because it creates an access key.
func newService(store auth.Store, keys ...auth.SigningKey) (*auth.Service, error) {
	return auth.New(store, auth.Config{Issuer: "https://api.example.com", SigningKeys: keys})
}

// newSigningKey returns a key with a new secret.
func newSigningKey() auth.SigningKey {
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := auth.NewHS256Key("", secret)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

// recoverSuperUser recovers the user with the ID, and returns a new pair. If the ID is empty, it only
// prints the super users.
func recoverSuperUser(
	ctx context.Context, svc *auth.Service, store auth.Store, id string,
) (auth.KeyPair, error) {
	if id != "" {
		return svc.RecoverSuperUser(ctx, id)
	}
	for query := (auth.UserQuery{Kind: auth.UserKindSuperUser, Limit: 200}); ; {
		page, err := store.ListUsers(ctx, query)
		if err != nil {
			return auth.KeyPair{}, err
		}
		for _, user := range page {
			fmt.Fprintln(os.Stderr, user.ID, user.Username, user.Email, "active:", user.IsActive)
		}
		if len(page) < query.Limit {
			return auth.KeyPair{}, errors.New("choose a user, and pass the ID of the user")
		}
		query.After = query.Position(page[len(page)-1])
	}
}

// If no super user has a working key, an operator runs a program like this one beside the database.
// The program lists the super users first. Recover a user only by ID, because the name of another user
// can look like the name or the e-mail address of the super user.
func ExampleService_RecoverSuperUser() {
	ctx := context.Background()
	store := memstore.New() // your store
	svc, err := newService(store, newSigningKey())
	if err != nil {
		log.Fatal(err)
	}
	root, err := svc.Bootstrap(ctx, auth.UserParams{Username: "root", Email: "root@example.com"},
		svc.Credentials().GeneratePair()) // the pair is lost
	if err != nil {
		log.Fatal(err)
	}

	_, err = recoverSuperUser(ctx, svc, store, "") // prints the ID
	fmt.Println(err)
	pair, err := recoverSuperUser(ctx, svc, store, root.ID) // the operator has chosen this ID from the list
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.Login(ctx, pair, auth.LoginOptions{})
	fmt.Println(token.User.Username, token.User.IsSuperUser, err)
	// Output:
	// choose a user, and pass the ID of the user
	// root true <nil>
}

// A signing key has leaked. Every instance removes it at once, and signs with a new key. After that,
// no token of the leaked key is accepted, whether the service or an attacker signed it.
func ExampleTokenIssuer_SetKeys_leakedKey() {
	ctx := context.Background()
	svc, err := newService(memstore.New(), newSigningKey())
	if err != nil {
		log.Fatal(err)
	}
	made, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.SignIn(ctx, made.User.ID, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}

	if err := svc.Tokens().SetKeys([]auth.SigningKey{newSigningKey()}); err != nil {
		log.Fatal(err)
	}
	if err := svc.RevokeEverybody(ctx, auth.ByHost("incident")); err != nil {
		log.Fatal(err)
	}

	_, err = svc.Tokens().Verify(ctx, token.Bearer.Reveal())
	fmt.Println(errors.Is(err, auth.ErrTokenRejected))
	// Output: true
}
