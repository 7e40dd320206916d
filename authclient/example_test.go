package authclient_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/memstore"
)

// A program reads its access key from the environment and calls a route of the service. The client signs in,
// keeps the token fresh, and repeats the call if the token was revoked.
func Example() {
	baseURL, stop := startService() // for this example: sets ACCESS_KEY and ACCESS_SECRET
	defer stop()

	client, err := authclient.New(baseURL, authclient.FromEnv("ACCESS_KEY", "ACCESS_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.HTTP().Get(baseURL + "/reports")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(os.Stdout, response.Body)
	// Output: report for ada
}

// A program replaces the secret of its own access key.
func ExampleClient_RotateKey() {
	ctx := context.Background()
	baseURL, stop := startService()
	defer stop()
	client, err := authclient.New(baseURL, authclient.FromEnv("ACCESS_KEY", "ACCESS_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	keys, err := client.Keys(ctx)
	if err != nil {
		log.Fatal(err)
	}
	rotated, err := client.RotateKey(ctx, keys[0].AccessKey, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rotated.AccessKey == keys[0].AccessKey, rotated.AccessSecret) // a Secret prints as [redacted]
	// Output: true [redacted]
}

// startService starts a service with a user, sets the environment variables with the user's access key, and
// returns the URL of the service and a function that stops it.
func startService() (baseURL string, stop func()) {
	signing, err := auth.NewHS256Key("", []byte("0123456789abcdef0123456789abcdef-example"))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{Issuer: "https://api.example.com",
		SigningKeys: []auth.SigningKey{signing}, Proxies: auth.NoProxies(),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	ada, err := svc.Register(context.Background(), auth.ByHost("example"), auth.UserParams{Username: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("ACCESS_KEY", ada.Pair.AccessKey)
	os.Setenv("ACCESS_SECRET", ada.Pair.AccessSecret.Reveal())
	mux := http.NewServeMux()
	svc.Mount(mux)
	report := func(w http.ResponseWriter, r *http.Request) {
		caller, _ := auth.IdentityFromContext(r.Context())
		fmt.Fprintf(w, "report for %s", caller.Username)
	}
	mux.Handle("GET /reports", svc.Authenticate(http.HandlerFunc(report)))
	server := httptest.NewServer(mux)
	return server.URL, func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	}
}
