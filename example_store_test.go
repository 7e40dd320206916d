package auth_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// countingStore is a custom store that wraps another store and changes one method. It embeds the type of
// the other store and not [auth.Store], so that it is also an [auth.EventStore] and an [auth.DeviceStore].
// A store that is written from scratch implements the whole interface; package storetest tests it.
type countingStore struct {
	*memstore.Store
	signIns map[auth.SignInMethod]int
}

// CreateSession counts the sign-ins by method.
func (s *countingStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	created, user, err := s.Store.CreateSession(ctx, session, limit)
	if err == nil {
		s.signIns[session.Method]++
	}
	return created, user, err
}

// A Service uses a custom store.
func ExampleStore() {
	store := &countingStore{memstore.New(), map[auth.SignInMethod]int{}}
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(store,
		auth.Config{Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	made, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if _, err := svc.Login(ctx, made.Pair, auth.LoginOptions{}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(store.signIns[auth.MethodAccessKey])
	// Output: 3
}

// A host reads all users whose username or e-mail begins with a text, page by page. A user whose username
// matches comes before all users of whom only the e-mail matches.
func ExampleUserQuery() {
	ctx := context.Background()
	store := memstore.New() // your store
	svc, err := newService(store, newSigningKey())
	if err != nil {
		log.Fatal(err)
	}
	for _, params := range []auth.UserParams{
		{Username: "zoe", Email: "Alison@example.com"},
		{Username: "Alice", Email: "alice@example.com"},
		{Username: "bob", Email: "bob@example.com"},
		{Username: "ali_b"},
	} {
		if _, err := svc.Register(ctx, auth.ByHost("setup"), params); err != nil {
			log.Fatal(err)
		}
	}

	for query := (auth.UserQuery{Search: "ali", Limit: 2}); ; {
		page, err := store.ListUsers(ctx, query)
		if err != nil {
			log.Fatal(err)
		}
		for _, user := range page {
			fmt.Printf("%s <%s>\n", user.Username, user.Email)
		}
		if len(page) < query.Limit {
			break
		}
		query.After = query.Position(page[len(page)-1])
	}
	// Output:
	// ali_b <>
	// Alice <alice@example.com>
	// zoe <Alison@example.com>
}
