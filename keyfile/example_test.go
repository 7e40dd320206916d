package keyfile_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/memstore"
)

// The first start of a service makes the file, and later starts read it.
func ExampleReadOrCreate() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	keys, err := keyfile.ReadOrCreate(filepath.Join(dir, "app.keys"), nil)
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: keys.Signing,
		SealingKeys: keys.Sealing,
		Credentials: auth.CredentialConfig{Peppers: keys.Peppers},
		Proxies:     auth.NoProxies(),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(svc.Credentials().GeneratePair().AccessSecret)
	// Output: [redacted]
}
