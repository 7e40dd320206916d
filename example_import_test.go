package auth_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// A host imports users with the access keys and hashes that they had in another service.
func ExampleService_ImportUsers() {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		fmt.Println(err)
		return
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Credentials: auth.CredentialConfig{AllowImported: true},
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lines := strings.NewReader(`
{"username":"ada","email":"ada@example.com","keys":[{"access_key":"ada-laptop","hash":"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"}]}
{"username":"bob","keys":[{"access_key":"bob-laptop","hash":"correct horse"}]}
`)
	progress, err := svc.ImportUsers(context.Background(), auth.ByHost("import"), lines, auth.ImportOptions{
		OnRejected: func(line int, err error) { fmt.Printf("line %d: %v\n", line, err) },
	})
	fmt.Printf("%d added, %d rejected, error: %v\n", progress.Added, progress.Rejected, err)
	// Output:
	// line 3: auth: hash must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)
	// 1 added, 1 rejected, error: <nil>
}
