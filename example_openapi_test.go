package auth_test

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"

	"github.com/sallyport-go/auth"
)

// A host serves the document where it likes.
func ExampleOpenAPI() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(auth.OpenAPI())
	})

	var document struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(auth.OpenAPI(), &document); err != nil {
		log.Fatal(err)
	}
	fmt.Println(document.OpenAPI, len(document.Paths["/auth/keys"]))
	// Output: 3.1.0 2
}
