package recipes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/credentials/oauth"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	grpcauth "github.com/sallyport-go/auth/recipes/grpc"
)

// A program with an access key calls a gRPC service. A Unix socket takes the place of TLS: gRPC sends a token
// only over a connection that nobody else can read.
func TestAProgramCallsAGRPCServiceWithAnAccessKey(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t), t.Context()
	mux := http.NewServeMux()
	f.svc.Mount(mux)
	client, err := authclient.New(serve(t, mux),
		authclient.FromPair(f.alicePair.AccessKey, f.alicePair.AccessSecret.Reveal()))
	require.NoError(t, err)

	folder, err := os.MkdirTemp("", "grpc") // t.TempDir is too long for the path of a socket
	require.NoError(t, err)
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer(grpc.Creds(local.NewCredentials()),
		grpc.UnaryInterceptor(grpcauth.Unary(f.svc, scopes)))
	server.RegisterService(&reports, f.svc)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	connection, err := grpc.NewClient("unix:"+socket,
		grpc.WithTransportCredentials(local.NewCredentials()),
		grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: client.TokenSource(ctx)}))
	require.NoError(t, err)
	defer connection.Close()
	for range 3 {
		answer, err := mine(ctx, connection)
		require.NoError(t, err)
		require.Contains(t, answer, "alice")
	}
}

// These are the lines of docs/call-from-programs.md.
func TestAProgramActsOnTheErrorsOfTheClient(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t), t.Context()
	mux := http.NewServeMux()
	f.svc.Mount(mux)
	mux.Handle("GET /reports", f.svc.RequireScope("reports:read", http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the reports") })))
	baseURL := serve(t, mux)
	path := filepath.Join(t.TempDir(), "key.json")
	text, err := json.Marshal(map[string]string{"access_key": f.alicePair.AccessKey,
		"access_secret": f.alicePair.AccessSecret.Reveal()})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))

	client, err := authclient.New(baseURL, authclient.FromFile(path))
	require.NoError(t, err)
	response, err := client.HTTP().Get(baseURL + "/reports")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)

	explain := func(err error) string {
		var answer *authclient.Error
		switch {
		case errors.Is(err, auth.ErrInsufficientScope):
			return "this key may not do that"
		case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
			return fmt.Sprint("try again in ", answer.RetryAfter)
		case errors.As(err, &answer):
			return answer.Detail
		case err != nil:
			return "the service cannot be reached"
		}
		return ""
	}
	_, err = client.User(ctx, "u1")
	require.Equal(t, "Super user access required", explain(err))
	key, err := client.CreateKey(ctx,
		authclient.KeyParams{Label: "reports", Scopes: auth.NewScopes("reports:read")})
	require.NoError(t, err)
	limited, err := authclient.New(baseURL, authclient.FromPair(key.AccessKey, key.AccessSecret.Reveal()))
	require.NoError(t, err)
	_, err = limited.Keys(ctx)
	require.Equal(t, "this key may not do that", explain(err))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = client.Keys(canceled)
	require.Equal(t, "the service cannot be reached", explain(err))
}
