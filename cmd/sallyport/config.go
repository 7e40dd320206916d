package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
)

// config is the content of the file that SALLYPORT_CONFIG names. Its values are those of the service.
type config struct {
	DSN     string `json:"dsn"`
	DSNFile string `json:"dsn_file"` // a file with the DSN, in place of DSN
	Prefix  string `json:"prefix"`   // of the tables

	// KeysFile is a file of package keyfile, in place of the three fields after it.
	KeysFile        string    `json:"keys_file"`
	SigningKeysFile string    `json:"signing_keys_file"` // as for auth.ParseSigningKeys
	SealingKeys     []keyFile `json:"sealing_keys"`
	Peppers         []keyFile `json:"peppers"`

	Issuer         string   `json:"issuer"`
	PublicURL      string   `json:"public_url"`
	TrustedProxies []string `json:"trusted_proxies"`
	Scopes         []string `json:"scopes"`
	Audiences      []string `json:"audiences"`

	AccessKeyPrefix    string `json:"access_key_prefix"`
	AccessSecretPrefix string `json:"access_secret_prefix"`
	AllowImported      bool   `json:"allow_imported"`

	MaxTokenLifetime lifetime `json:"max_token_lifetime"`
	AuditRetention   lifetime `json:"audit_retention"`
	NameRetention    lifetime `json:"name_retention"`

	GitHub *struct {
		ClientID         string `json:"client_id"`
		ClientSecretFile string `json:"client_secret_file"`
		CallbackURL      string `json:"callback_url"`
		BaseURL          string `json:"base_url"`
	} `json:"github"`
}

// lifetime is a duration in the configuration, such as "90d" or "12h".
type lifetime time.Duration

const maxLifetime = 65535 * 24 * time.Hour // fits in a Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *lifetime) UnmarshalText(text []byte) error {
	days, ok := strings.CutSuffix(string(text), "d")
	if n, err := strconv.ParseUint(days, 10, 16); ok && err == nil && n > 0 {
		*l = lifetime(n) * lifetime(24*time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 || d > maxLifetime {
		return errors.New("a duration must be positive and at most 65535d, such as 90d or 12h")
	}
	*l = lifetime(d)
	return nil
}

// If the configuration leaves these out, sallyport does not know the values of the service. The defaults of
// the library can be too short: prune would remove events that the service keeps, and doctor would advise to
// remove a retired key whose tokens are still accepted. So sallyport assumes the longest.
const (
	longestTokenLifetime = 30 * 24 * time.Hour // that a service can have
	keepEvents           = 200 * 365 * 24 * time.Hour
)

// keyFile names a file with one secret key of 32 bytes or more, in base64. With None, it is auth.NoPepper.
type keyFile struct {
	ID   string `json:"id"`
	File string `json:"file"`
	None bool   `json:"none"`
}

// readConfig reads the configuration that the environment names.
func readConfig(getenv func(string) string) (config, error) {
	cfg := config{DSN: getenv("SALLYPORT_DSN")}
	path := getenv("SALLYPORT_CONFIG")
	switch {
	case path == "" && cfg.DSN == "":
		return cfg, errors.New("set SALLYPORT_DSN to the data source name of the database, or " +
			"SALLYPORT_CONFIG to a " +
			"configuration file")
	case path == "":
		return cfg, nil
	case cfg.DSN != "":
		return cfg, errors.New("SALLYPORT_DSN and SALLYPORT_CONFIG are both set: put the data source " +
			"name into the file")
	}
	text, err := auth.ReadKeyFile(path, nil)
	if err != nil {
		return cfg, fmt.Errorf("SALLYPORT_CONFIG: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cfg); err != nil {
		// The text of the error can contain a part of the file, but only the name of a field.
		return cfg, fmt.Errorf("%s: %w", path, err)
	}
	if (cfg.DSN == "") == (cfg.DSNFile == "") {
		return cfg, fmt.Errorf("%s: set exactly one of dsn and dsn_file", path)
	}
	if cfg.DSNFile != "" {
		dsn, err := readSecret(cfg.DSNFile)
		if err != nil {
			return cfg, fmt.Errorf("%s: dsn_file: %w", path, err)
		}
		cfg.DSN = dsn
	}
	return cfg, nil
}

// readSecret returns the text of a file without white space at its ends.
func readSecret(path string) (string, error) {
	text, err := auth.ReadKeyFile(path, nil)
	return strings.TrimSpace(string(text)), err
}

// auth returns the configuration of a service, and the times at which its keys were made.
func (c config) auth() (auth.Config, func(auth.KeyInfo) time.Time, error) {
	cfg := auth.Config{
		Issuer: cmp.Or(c.Issuer, "https://sallyport.invalid"), PublicURL: c.PublicURL,
		Proxies: auth.NoProxies(),
		// Sallyport has no OnEvent, and the instances may have one.
		DeliverElsewhere: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr,
			&slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	cfg.Tokens.Scopes, cfg.Tokens.Audiences = c.Scopes, c.Audiences
	cfg.Credentials.AccessKeyPrefix, cfg.Credentials.AccessSecretPrefix = c.AccessKeyPrefix,
		c.AccessSecretPrefix
	cfg.Credentials.AllowImported = c.AllowImported
	cfg.NameRetention = time.Duration(c.NameRetention) // zero keeps all names
	// A service refuses a NameRetention below its MaxLifetime.
	longest := min(longestTokenLifetime, cmp.Or(cfg.NameRetention, longestTokenLifetime))
	cfg.Tokens.MaxLifetime = cmp.Or(time.Duration(c.MaxTokenLifetime), longest)
	cfg.Tokens.Lifetime = min(cfg.Tokens.MaxLifetime, 12*time.Hour) // no command issues a token
	cfg.AuditRetention = cmp.Or(time.Duration(c.AuditRetention), keepEvents)
	keys, err1 := c.keys()
	cfg.SigningKeys, cfg.SealingKeys, cfg.Credentials.Peppers = keys.Signing, keys.Sealing, keys.Peppers
	var err2, err3 error
	if len(c.TrustedProxies) > 0 {
		cfg.Proxies, err2 = proxies(c.TrustedProxies)
	}
	if c.GitHub != nil {
		var secret string
		secret, err3 = readSecret(c.GitHub.ClientSecretFile)
		cfg.GitHub = &auth.GitHubConfig{ClientID: c.GitHub.ClientID, ClientSecret: auth.NewSecret(secret),
			CallbackURL: c.GitHub.CallbackURL, BaseURL: c.GitHub.BaseURL}
	}
	return cfg, keys.CreatedAt, errors.Join(err1, err2, err3)
}

// keys returns the keys of the service. If the keys are in several files, nothing tells when they were made.
func (c config) keys() (keys keyfile.Keys, err error) {
	if c.KeysFile != "" {
		if c.SigningKeysFile != "" || len(c.SealingKeys)+len(c.Peppers) > 0 {
			return keys, errors.New("keys_file has all keys, so remove signing_keys_file, sealing_keys and " +
				"peppers")
		}
		return keyfile.Read(c.KeysFile, nil)
	}
	var err1, err2, err3 error
	keys.Signing, err1 = c.signingKeys()
	keys.Sealing, err2 = symmetricKeys("sealing_keys", c.SealingKeys)
	keys.Peppers, err3 = symmetricKeys("peppers", c.Peppers)
	return keys, errors.Join(err1, err2, err3)
}

// signingKeys returns the keys of the service. Without a file, it returns a new key, because a Service
// needs one. No command signs a token.
func (c config) signingKeys() ([]auth.SigningKey, error) {
	if c.SigningKeysFile == "" {
		key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
		return []auth.SigningKey{key}, err
	}
	data, err := auth.ReadKeyFile(c.SigningKeysFile, nil)
	if err != nil {
		return nil, fmt.Errorf("signing_keys_file: %w", err)
	}
	return auth.ParseSigningKeys(data)
}

func symmetricKeys(field string, files []keyFile) ([]auth.SymmetricKey, error) {
	var keys []auth.SymmetricKey
	for i, f := range files {
		if f.None {
			keys = append(keys, auth.NoPepper())
			continue
		}
		text, err := readSecret(f.File)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		secret, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: the file %s is not base64", field, i, f.File)
		}
		key, err := auth.NewSymmetricKey(f.ID, secret)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func proxies(networks []string) (auth.Proxies, error) {
	var prefixes []netip.Prefix
	for _, network := range networks {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return auth.Proxies{}, fmt.Errorf("trusted_proxies: %w", err)
		}
		prefixes = append(prefixes, prefix)
	}
	return auth.TrustProxies(prefixes...), nil
}
