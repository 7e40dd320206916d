package auth_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// importedKeys returns the access keys that another system made. The ID of a generated key begins with
// the prefix.
func importedKeys(ctx context.Context, store auth.Store, prefix string) ([]auth.AccessKey, error) {
	var found []auth.AccessKey
	for after := ""; ; {
		page, err := store.ListAllKeys(ctx, after, 200)
		if err != nil {
			return nil, err
		}
		for _, key := range page {
			if !strings.HasPrefix(key.ID, prefix) {
				fmt.Fprintln(os.Stderr, key.UserID, key.ID)
				found = append(found, key)
			}
		}
		if len(page) < 200 {
			return found, nil
		}
		after = page[len(page)-1].ID
	}
}

// A host imports users with the access keys and hashes that they had in another service.
func ExampleService_ImportUsers() {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		fmt.Println(err)
		return
	}
	store := memstore.New()
	svc, err := auth.New(store, auth.Config{
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

	found, err := importedKeys(context.Background(), store, "ak_live_")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("imported:", found[0].ID)
	// Output:
	// line 3: auth: hash must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)
	// 1 added, 1 rejected, error: <nil>
	// imported: ada-laptop
}
