package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport-go/auth"
)

// serveOpenAPI serves the OpenAPI description at a path of the host.
func serveOpenAPI(mux *http.ServeMux) {
	document := auth.OpenAPI()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(document)
	})
}

// A host serves the OpenAPI description of the HTTP calls of this package.
func ExampleOpenAPI() {
	mux := http.NewServeMux()
	serveOpenAPI(mux)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var document struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		fmt.Println(err)
	}
	_, documented := document.Paths["/auth/users/login"]["post"]
	fmt.Println(document.OpenAPI, documented)
	// Output: 3.1.1 true
}
