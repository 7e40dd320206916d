package auth_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport-go/auth"
)

// A test of a host makes a user and a token in two calls. The store is in memory.
func ExampleService_SignIn() {
	svc, api, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}

	request := httptest.NewRequest(http.MethodGet, "/reports", nil)
	made, err := svc.Register(request.Context(), auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.SignIn(request.Context(), made.User.ID, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())

	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)
	// Output: 200 the reports of alice
}
