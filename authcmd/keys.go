package authcmd

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

func keyCommands() []command {
	return []command{
		{
			name: "key list", args: "USER", short: "list the access keys of a " +
				"user", json: true, run: runKeyList,
			long: `Key list lists the access keys of the user, the oldest first. It shows no secrets: the store does not have
them.`,
		},
		{
			name: "key add", args: "USER", short: "add an access key to a user", json: true, secret: true,
			flags: keyFlags, run: runKeyAdd,
			long: `Key add adds an access key to the user, and shows the access key and secret. The secret cannot be shown
again.`,
		},
		{
			name: "key rotate", args: "KEY", short: "replace the secret of an access " +
				"key", json: true, secret: true,
			confirms: true, flags: overlapFlag, run: runKeyRotate,
			long: `Key rotate gives the access key a new secret and shows it. Without -overlap, the previous secret stops
working at once. Sessions that the key opened stay. If the secret has leaked, use 'PROGRAM key revoke' or
'PROGRAM key find-leaked -revoke' instead.`,
		},
		{
			name: "key revoke", args: "KEY", short: "revoke an access " +
				"key", json: true, confirms: true, run: runKeyRevoke,
			long: `Key revoke revokes the access key and the sessions that the key opened. KEY is the access key, not its
secret.`,
		},
		{
			name: "key find-leaked", short: "find the owner of a leaked secret, and revoke the " +
				"key", json: true,
			flags: func(f *flag.FlagSet, o *options) {
				f.BoolVar(&o.revoke, "revoke", false, "revoke the keys whose secrets still work")
			},
			run: runFindLeaked,
			long: `Key find-leaked reads any text from the standard input, such as a log, and shows the access key and the
owner of each access secret in the text. Never pass the secret as an argument.

Without -revoke, it changes nothing, and does not check whether a secret works: anyone can make a text that
names a key. With -revoke, it revokes the keys whose secrets still work, and the sessions that these keys
opened. It needs the peppers of the service to check a secret. If it cannot check one, it revokes the
others and ends with an error.`,
		},
	}
}

// shownKey is the JSON of an access key.
type shownKey struct {
	AccessKey  string         `json:"access_key"`
	UserID     string         `json:"user_id"`
	Username   string         `json:"username,omitempty"`
	Label      string         `json:"label,omitempty"`
	CreatedAt  time.Time      `json:"created_at,omitzero"`
	ExpiresAt  time.Time      `json:"expires_at,omitzero"`
	LastUsedAt time.Time      `json:"last_used_at,omitzero"`
	Scopes     *auth.ScopeSet `json:"scopes"` // null means no limit
	MustRotate bool           `json:"must_rotate,omitempty"`
	Status     string         `json:"status"`
}

func (c *call) shownKey(key auth.AccessKey, owner auth.User) shownKey {
	status := "active"
	if !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(c.now()) {
		status = "expired"
	}
	return shownKey{key.ID, key.UserID, owner.Username, key.Label, key.CreatedAt, key.ExpiresAt,
		key.LastUsedAt, key.Scopes, key.MustRotate, status}
}

func scopesText(scopes *auth.ScopeSet) string {
	if scopes == nil {
		return "all"
	}
	return cmp.Or(scopes.String(), "none")
}

func runKeyList(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	keys, err := c.Service.Credentials().List(ctx, user.ID)
	if err != nil {
		return err
	}
	table := c.table("ACCESS KEY", "LABEL", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "STATUS")
	for _, key := range keys {
		shown := c.shownKey(key, user)
		table.add(shown, key.ID, key.Label, scopesText(key.Scopes), date(key.CreatedAt), date(key.LastUsedAt),
			date(key.ExpiresAt), shown.Status)
	}
	return table.end()
}

func runKeyAdd(ctx context.Context, c *call) error {
	options, err := c.keyOptions()
	if err != nil {
		return err
	}
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.requirePeppers(ctx); err != nil {
		return err
	}
	return c.givePair(ctx, "key add USER", func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		pair, err := c.Service.Credentials().Issue(ctx, authority, user.ID, options)
		return &user, pair, err
	})
}

// findKey returns the access key with the ID, and its owner.
func (c *call) findKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	key, _, err := c.Store.FindKey(ctx, id)
	if errors.Is(err, auth.ErrNotFound) {
		return key, auth.User{}, errors.New("there is no such access key; 'key list USER' lists those " +
			"of a user")
	}
	if err != nil {
		return key, auth.User{}, err
	}
	owner, err := c.owner(ctx, key.UserID)
	return key, owner, err
}

// maxOverlap is the maximum overlap of [auth.CredentialVerifier.Rotate].
const maxOverlap = 7 * day

func runKeyRotate(ctx context.Context, c *call) error {
	if c.options.overlap < 0 || c.options.overlap > maxOverlap {
		return usageError{c.command.name, "-overlap must be from 0 to 168h"}
	}
	key, owner, err := c.findKey(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.requirePeppers(ctx); err != nil {
		return err
	}
	if c.options.overlap == 0 {
		if err := c.confirm(ctx, "Key rotate ends the present secret of the key %s of %s at once.", key.ID,
			described(owner)); err != nil {
			return err
		}
	}
	return c.givePair(ctx, "key rotate "+key.ID, func(ctx context.Context) (*auth.User, auth.KeyPair, error) {
		pair, err := c.Service.Credentials().Rotate(ctx, authority, key.ID, c.options.overlap)
		if errors.Is(err, auth.ErrRotating) {
			err = fmt.Errorf("the earlier secret of this key still works: rotate the key again when it does "+
				"not, or revoke the key and add another one: %w", err)
		}
		return &owner, pair, err
	})
}

func runKeyRevoke(ctx context.Context, c *call) error {
	key, owner, err := c.findKey(ctx, c.args[0])
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, "Key revoke revokes the key %s of %s, and the sessions that it opened.", key.ID,
		described(owner)); err != nil {
		return err
	}
	if err := c.Service.Credentials().Revoke(ctx, authority, key.ID); err != nil {
		return err
	}
	shown := c.shownKey(key, owner)
	shown.Status = "revoked"
	return c.changed(shown, "revoked the key %s of %s", key.ID, described(owner))
}

// maxLeakedText is the maximum length of the text in which key find-leaked looks for secrets.
const maxLeakedText = 64 << 20

func runFindLeaked(ctx context.Context, c *call) error {
	if isTerminal(c.stdio.In) {
		fmt.Fprintln(c.stdio.Err, "Paste the secret or the text, then press Enter and Ctrl-D:")
	}
	text, err := io.ReadAll(io.LimitReader(c.input(ctx), maxLeakedText+1))
	if err != nil {
		return err
	}
	if len(text) > maxLeakedText {
		return fmt.Errorf("the text is longer than %d MiB: split it", maxLeakedText>>20)
	}
	pattern, err := regexp.Compile(c.Service.Credentials().SecretPattern())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var failures []error
	for _, match := range pattern.FindAll(text, -1) {
		if secret := string(match); !seen[secret] {
			seen[secret] = true
			if err := c.findLeaked(ctx, secret, len(seen)); err != nil {
				failures = append(failures, fmt.Errorf("secret %d: %w", len(seen), err))
			}
		}
	}
	if len(seen) == 0 {
		return errors.New("the text has no access secret of this service: compare the prefix of the " +
			"secret with Credentials.AccessSecretPrefix in the configuration")
	}
	err = errors.Join(failures...)
	if err != nil && c.options.revoke && len(failures) < len(seen) {
		err = fmt.Errorf("%w\nthe keys that the output names as revoked were revoked", err)
	}
	return err
}

// findLeaked reports the owner of one secret, and revokes its key with -revoke. The number is the place
// of the secret in the text, because the secret itself must not be shown.
func (c *call) findLeaked(ctx context.Context, secret string, number int) error {
	if c.options.revoke {
		key, err := c.Service.Credentials().RevokeLeaked(ctx, auth.NewSecret(secret))
		if err == nil {
			owner, err := c.owner(ctx, key.UserID)
			shown := c.shownKey(key, owner)
			shown.Status = "revoked"
			return errors.Join(err, c.changed(shown, "secret %d: revoked the key %s of %s", number, key.ID,
				described(owner)))
		}
		if !errors.Is(err, auth.ErrInvalidCredentials) {
			return err
		}
	}
	key, err := c.keyOfSecret(ctx, secret)
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return c.result(shownKey{Status: "unknown"}, "secret %d: no access key has this secret", number)
	case err != nil:
		return err
	}
	owner, err := c.owner(ctx, key.UserID)
	if err != nil {
		return err
	}
	shown := c.shownKey(key, owner)
	if c.options.revoke {
		shown.Status = "does not work"
		return c.result(shown, "secret %d: names the key %s of %s, but does not work: nothing was "+
			"revoked", number,
			key.ID, described(owner))
	}
	return c.result(shown, "secret %d: names the key %s of %s; run the command with -revoke to check "+
		"the secret and revoke the key", number, key.ID, described(owner))
}

// identifierLength is the number of characters after the prefix of a secret that also begin its access
// key: see [auth.KeyPair].
const identifierLength = 20

// keyPrefix returns the prefix of the access keys of a service.
func keyPrefix(credentials auth.CredentialConfig) string {
	return cmp.Or(credentials.AccessKeyPrefix, "ak_live")
}

// keyOfSecret returns the access key that the secret names, or [auth.ErrNotFound].
func (c *call) keyOfSecret(ctx context.Context, secret string) (auth.AccessKey, error) {
	credentials := c.Config.Credentials
	rest := strings.TrimPrefix(secret, cmp.Or(credentials.AccessSecretPrefix, "as_live")+"_")
	if len(rest) < identifierLength {
		return auth.AccessKey{}, auth.ErrNotFound
	}
	beginning := keyPrefix(credentials) + "_" + rest[:identifierLength]
	keys, err := c.Store.ListAllKeys(ctx, beginning, 1)
	if err != nil {
		return auth.AccessKey{}, err
	}
	if len(keys) == 0 || !strings.HasPrefix(keys[0].ID, beginning) {
		return auth.AccessKey{}, auth.ErrNotFound
	}
	return keys[0], nil
}
