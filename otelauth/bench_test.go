package otelauth_test

import (
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/otelauth"
)

// BenchmarkIdentify verifies a cached token with and without telemetry.
func BenchmarkIdentify(b *testing.B) {
	telemetry, err := otelauth.New(otelauth.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
	})
	require.NoError(b, err)
	for name, hooks := range map[string]auth.Hooks{"measured": telemetry.Hooks(), "not": {}} {
		key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
		require.NoError(b, err)
		svc, err := auth.New(memstore.New(), auth.Config{
			Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key}, Hooks: hooks,
			Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(b, err)
		made, err := svc.Register(b.Context(), auth.ByHost("setup"), auth.UserParams{Username: "ada"})
		require.NoError(b, err)
		token, err := svc.SignIn(b.Context(), made.User.ID, auth.LoginOptions{})
		require.NoError(b, err)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := svc.Identify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
