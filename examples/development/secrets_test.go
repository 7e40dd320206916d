package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

func TestAConfigFromTheEnvironmentMakesAService(t *testing.T) {
	t.Parallel()
	environment := map[string]string{
		"SIGNING_SECRET": rand.Text() + rand.Text(), "SEALING_SECRET": rand.Text() + rand.Text(),
		"PEPPER": rand.Text() + rand.Text(),
	}
	getenv := func(name string) string { return environment[name] }
	cfg, err := configFromEnvironment(getenv)
	require.NoError(t, err)
	cfg.Issuer, cfg.Proxies = "https://api.example.com", auth.NoProxies()
	_, _, err = newAPI(memstore.New(), cfg)
	require.NoError(t, err)

	for name, secret := range environment {
		printed := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)
		require.NotContains(t, printed, secret, name)
		environment[name] = "too short"
		_, err := configFromEnvironment(getenv)
		require.ErrorContains(t, err, name+": auth: ")
		require.NotContains(t, err.Error(), "too short", "an error has no part of a secret")
		environment[name] = secret
	}
}

// Each value with a secret prints as [redacted], so it can be logged by accident without harm.
func TestNoSecretReachesTheLog(t *testing.T) {
	t.Parallel()
	svc, _ := newService(t)
	made, err := svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	token, err := svc.SignIn(t.Context(), made.User.ID, auth.LoginOptions{})
	require.NoError(t, err)

	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("registered", "pair", made.Pair, "token", token)
	require.Contains(t, out.String(), "[redacted]")
	require.NotContains(t, out.String(), made.Pair.AccessSecret.Reveal())
	require.NotContains(t, out.String(), token.Bearer.Reveal())
}
