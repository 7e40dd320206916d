package sqlstore

import (
	"context"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// keyWithOwner is an access key and its user.
type keyWithOwner struct {
	key   auth.AccessKey
	owner auth.User
}

const findKeyVerb = "find key"

// FindKey implements [auth.CredentialStore].
func (s *core) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	if err := ctx.Err(); err != nil {
		return auth.AccessKey{}, auth.User{}, err
	}
	if !storable(id, storekit.MaxAccessKeyLength) {
		return auth.AccessKey{}, auth.User{}, auth.ErrNotFound
	}
	found, err := s.keyReads.do(ctx, s.timeout, verb[string, keyWithOwner]{
		name: findKeyVerb, alone: s.findKeyAlone, together: s.findKeysTogether, reads: true}, id)
	if err != nil {
		return auth.AccessKey{}, auth.User{}, err
	}
	return found.key, found.owner, nil
}

// findKeyAlone finds one key.
func (s *core) findKeyAlone(ctx context.Context, id string) (found keyWithOwner, err error) {
	answers, err := s.findKeysTogether(ctx, []string{id})
	if err != nil {
		return found, err
	}
	return answers[0].out, answers[0].err
}

const (
	selectKeysWithOwners = `
SELECT ` + keyColumns + `, ` + userColumns + `
FROM auth_access_keys k JOIN auth_users u ON u.id = k.user_id
WHERE k.id `
	selectKeys = `SELECT ` + keyColumns + ` FROM auth_access_keys k WHERE k.id `
)

// findKeysTogether reads the keys and their owners in one statement, so that each key and its owner
// are from the same moment.
func (s *core) findKeysTogether(ctx context.Context, ids []string) ([]answer[keyWithOwner], error) {
	query, fields := selectKeysWithOwners, func(f *keyWithOwner) []any {
		return append(keyFields(&f.key), userFields(&f.owner)...)
	}
	if !s.keepsUsers() {
		query, fields = selectKeys, func(f *keyWithOwner) []any { return keyFields(&f.key) }
	}
	records, err := read(ctx, s, findKeyVerb, func(ctx context.Context, q querier) ([]keyWithOwner, error) {
		return collectListed(ctx, q, fields, query, ``, ids)
	})
	if err != nil {
		return nil, err
	}
	found := byID(records, func(f keyWithOwner) string { return f.key.ID })
	answers := make([]answer[keyWithOwner], len(ids))
	for i, id := range ids {
		key, ok := found[id]
		if !ok {
			answers[i].err = auth.ErrNotFound
			continue
		}
		if !s.keepsUsers() {
			key.owner = hostUser(key.key.UserID)
		}
		answers[i].out = key
	}
	return answers, nil
}
