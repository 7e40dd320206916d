package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
)

// local sets the fields that differ on the machine of a developer. The origin is that of the service, such
// as http://127.0.0.1:8080.
func local(cfg auth.Config, origin string, fake *githubtest.Server) auth.Config {
	id, secret := fake.Client()
	cfg.Issuer, cfg.PublicURL = origin, origin
	cfg.Proxies = auth.NoProxies()
	cfg.GitHub = &auth.GitHubConfig{
		ClientID: id, ClientSecret: auth.NewSecret(secret),
		CallbackURL: origin + "/api/v1/auth/github/callback",
		BaseURL:     fake.URL(), APIURL: fake.URL() + "/api/v3",
		Host: "githubtest.invalid", // so the users stay the same when the fake has another port
	}
	return cfg
}

// seed makes the users of a new database. A later call with the same database adds nothing. The key of the
// super user stays in the file, so it is the same after the database was removed.
func seed(ctx context.Context, svc *auth.Service, keyFile string, out io.Writer) error {
	pair, err := keptPair(svc, keyFile)
	if err != nil {
		return err
	}
	if _, err := svc.Bootstrap(ctx, auth.UserParams{Username: "admin"}, pair); err != nil {
		return fmt.Errorf("%s has no key of a super user of this database: %w", keyFile, err)
	}
	for _, name := range []string{"alice", "bob"} {
		made, err := svc.Register(ctx, auth.ByHost("seed"), auth.UserParams{Username: name})
		if errors.Is(err, auth.ErrExists) {
			continue
		} else if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: access_key=%s access_secret=%s\n", name, made.Pair.AccessKey,
			made.Pair.AccessSecret.Reveal())
	}
	return nil
}

// keptPair returns the pair in the file. If the file does not exist, it creates the file with a new pair.
func keptPair(svc *auth.Service, keyFile string) (auth.KeyPair, error) {
	var key, secret string
	file, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		pair := svc.Credentials().GeneratePair()
		text := fmt.Sprintf("access_key=%s\naccess_secret=%s\n", pair.AccessKey, pair.AccessSecret.Reveal())
		return pair, os.WriteFile(keyFile, []byte(text), 0o600)
	} else if err != nil {
		return auth.KeyPair{}, err
	}
	if _, err := fmt.Sscanf(string(file), "access_key=%s\naccess_secret=%s\n", &key, &secret); err != nil {
		return auth.KeyPair{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	return auth.KeyPair{AccessKey: key, AccessSecret: auth.NewSecret(secret)}, nil
}
