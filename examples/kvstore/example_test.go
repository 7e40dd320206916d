package kvstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/examples/kvstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "kvstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := kvstore.Open(filepath.Join(dir, "auth.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(store, auth.Config{Issuer: "https://api.example.com",
		SigningKeys: []auth.SigningKey{key}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	made, err := svc.Register(ctx, auth.ByHost("example"), auth.UserParams{Username: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.Login(ctx, made.Pair, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	identity, err := svc.Tokens().Verify(ctx, token.Bearer.Reveal())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(identity.Username)
	// Output: ada
}
