package sqlstore

import (
	"context"
	"maps"
	"slices"

	"github.com/sallyport-go/auth"
)

// candidate is a user whom a call is to register.
type candidate struct {
	auth.UserWithKeys
	at              int    // in the list of the call
	username, email string // folded
}

// taken is what is taken, of what some users want, each with the ID of whose it is: ""
// for a username that was retired.
type taken struct {
	ids, usernames, emails, keys map[string]string
}

func newTaken() *taken {
	return &taken{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}}
}

// findTaken returns what is taken of what the candidates want.
//
// The questions are answered one after the other, and somebody who is added between two
// of them is there for the second alone: who is refused for something of a user who is
// not the same is asked about again.
func findTaken(ctx context.Context, t tx, candidates []candidate) (*taken, error) {
	inUse := newTaken()
	if err := inUse.find(ctx, t, candidates); err != nil {
		return nil, err
	}
	var unclear []candidate
	refusals, _ := inUse.decide(candidates)
	for i, refusal := range refusals {
		if refusal != nil && refusal.(*auth.ExistsError).SameUserID == "" {
			unclear = append(unclear, candidates[i])
		}
	}
	return inUse, inUse.find(ctx, t, unclear)
}

const (
	selectIDs       = `SELECT id, id FROM auth_users WHERE id `
	selectUsernames = `SELECT username_folded, id FROM auth_users WHERE username_folded `
	selectEmails    = `SELECT email_folded, id FROM auth_users WHERE email_folded `
	selectKeyIDs    = `SELECT id, user_id FROM auth_access_keys WHERE id `
	selectRetireds  = `SELECT username_folded, '' FROM auth_retired_usernames WHERE username_folded `
)

// find adds what the database says that is taken.
func (u *taken) find(ctx context.Context, t tx, candidates []candidate) error {
	var ids, usernames, emails, keys []string
	for _, c := range candidates {
		ids, usernames = append(ids, c.User.ID), append(usernames, c.username)
		if c.email != "" {
			emails = append(emails, c.email)
		}
		for _, key := range c.Keys {
			keys = append(keys, key.ID)
		}
	}
	return inOrder(
		func() error { return findOwners(ctx, t, selectIDs, ids, u.ids) },
		func() error { return findOwners(ctx, t, selectUsernames, usernames, u.usernames) },
		func() error { return findOwners(ctx, t, selectRetireds, usernames, u.usernames) },
		func() error { return findOwners(ctx, t, selectEmails, emails, u.emails) },
		func() error { return findOwners(ctx, t, selectKeyIDs, keys, u.keys) },
	)
}

// asked is how many values a question is about.
const asked = 100

// findOwners adds to the owners those of the values that the query finds. It ends in
// their list.
func findOwners(ctx context.Context, t tx, query string, values []string, owners map[string]string) error {
	type owned struct{ value, owner string }
	query += list(asked)
	for some := range slices.Chunk(values, asked) {
		if err := t.callerErr(); err != nil {
			return err
		}
		found, err := collect(ctx, t.querier, func(o *owned) []any { return []any{&o.value, &o.owner} },
			query, padded(some, asked)...)
		if err != nil {
			return err
		}
		for _, o := range found {
			owners[o.value] = o.owner
		}
	}
	return nil
}

// decide takes the candidates in their order, and returns for each why not, and who is
// left.
func (u *taken) decide(candidates []candidate) (refusals []error, accepted []candidate) {
	now := &taken{maps.Clone(u.ids), maps.Clone(u.usernames), maps.Clone(u.emails), maps.Clone(u.keys)}
	refusals = make([]error, len(candidates))
	for i, c := range candidates {
		if field := now.conflict(c); field != "" {
			refusals[i] = &auth.ExistsError{Field: field, SameUserID: now.same(c)}
		} else {
			now.take(c)
			accepted = append(accepted, c)
		}
	}
	return refusals, accepted
}

// conflict returns the first of what the candidate wants that is taken, or "".
func (u *taken) conflict(c candidate) (field string) {
	has := func(owners map[string]string, value string) bool { _, is := owners[value]; return is }
	switch {
	case has(u.ids, c.User.ID):
		return "user_id"
	case has(u.usernames, c.username):
		return "username"
	case c.email != "" && has(u.emails, c.email):
		return "email"
	}
	for i, key := range c.Keys {
		again := slices.ContainsFunc(c.Keys[:i], func(other auth.AccessKey) bool { return other.ID == key.ID })
		if has(u.keys, key.ID) || again {
			return "access_key"
		}
	}
	return ""
}

// take adds all that the candidate wants.
func (u *taken) take(c candidate) {
	id := c.User.ID
	u.ids[id], u.usernames[c.username] = id, id
	if c.email != "" {
		u.emails[c.email] = id
	}
	for _, key := range c.Keys {
		u.keys[key.ID] = id
	}
}

// same returns the ID of the user who has the username and all the keys, or "".
func (u *taken) same(c candidate) string {
	id := u.usernames[c.username]
	for _, key := range c.Keys {
		if u.keys[key.ID] != id {
			return ""
		}
	}
	return id
}
