package main

import (
	"fmt"

	"github.com/sallyport-go/auth"
)

// configFromEnvironment returns a configuration with the secrets in three environment variables. Each value
// is the output of `openssl rand -base64 32`. In a program, getenv is os.Getenv.
func configFromEnvironment(getenv func(name string) string) (auth.Config, error) {
	signing, err := auth.NewHS256Key("", []byte(getenv("SIGNING_SECRET")))
	if err != nil {
		return auth.Config{}, fmt.Errorf("SIGNING_SECRET: %w", err)
	}
	sealing, err := auth.NewSymmetricKey("", []byte(getenv("SEALING_SECRET")))
	if err != nil {
		return auth.Config{}, fmt.Errorf("SEALING_SECRET: %w", err)
	}
	pepper, err := auth.NewSymmetricKey("", []byte(getenv("PEPPER")))
	if err != nil {
		return auth.Config{}, fmt.Errorf("PEPPER: %w", err)
	}
	return auth.Config{
		SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing},
		Credentials: auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper}},
	}, nil
}
