package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// people is the host's own users table.
type people struct {
	mu   sync.Mutex
	byID map[string]auth.User
}

// FindUser returns the user with this ID, or auth.ErrNotFound. With a database, it would be a
// SELECT.
func (p *people) FindUser(_ context.Context, id string) (auth.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, ok := p.byID[id]
	if !ok {
		return auth.User{}, auth.ErrNotFound
	}
	return user, nil
}

// ResolveGitHub refuses every GitHub account that is not linked to a user. A user who wants to sign
// in with GitHub must first sign in by other means and connect the account.
func (p *people) ResolveGitHub(context.Context, auth.GitHubProfile, string) (string, error) {
	return "", auth.ErrNotFound
}

func (p *people) disable(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user := p.byID[id]
	user.IsActive = false
	p.byID[id] = user
}

// A host already has a users table. The store keeps only access keys and sessions. The host's table
// says who the users are and whether they are active.
func ExampleNewWithUsers() {
	key, err := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	table := &people{byID: map[string]auth.User{"42": {ID: "42", Username: "alice", IsActive: true}}}
	svc, err := auth.NewWithUsers(memstore.NewAccounts(), table, auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	pair, err := svc.Credentials().Issue(ctx, auth.ByHost("setup"), "42",
		auth.KeyOptions{Label: "her laptop"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.Login(ctx, pair)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in:", token.User.Username)

	table.disable("42") // first disable the user, then revoke the sessions
	revoked, err := svc.RevokeUser(ctx, auth.ByHost("staff office"), "42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sessions revoked:", revoked)
	_, err = svc.Login(ctx, pair)
	fmt.Println("signs in again:", !errors.Is(err, auth.ErrInvalidCredentials))
	// Output:
	// signed in: alice
	// sessions revoked: 1
	// signs in again: false
}
