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
	at    int    // in the list of the call
	wants []want // in the order in which they are looked at; the ID and the username first
}

// want is what a user wants and one user alone can have.
type want struct {
	field string // the name of [auth.ExistsError]
	value string // folded, where that is what counts
}

func newCandidate(at int, user auth.UserWithKeys) candidate {
	c := candidate{user, at, []want{
		{"user_id", user.User.ID},
		{"username", auth.FoldASCII(user.User.Username)},
	}}
	if user.User.Email != "" {
		c.wants = append(c.wants, want{"email", auth.FoldASCII(user.User.Email)})
	}
	for _, key := range user.Keys {
		c.wants = append(c.wants, want{"access_key", key.ID})
	}
	return c
}

func (c candidate) username() string { return c.wants[1].value }

// taken is what is taken, of what some users want, with the ID of whose it is: "" for a
// username that was retired.
type taken map[want]string

// conflict returns the first of what the candidate wants that is taken, or "".
func (t taken) conflict(c candidate) (field string) {
	for i, w := range c.wants {
		if _, is := t[w]; is || slices.Contains(c.wants[:i], w) {
			return w.field
		}
	}
	return ""
}

// take adds all that the candidate wants.
func (t taken) take(c candidate) {
	for _, w := range c.wants {
		t[w] = c.User.ID
	}
}

// same returns the ID of the user who has the username and all the keys, or "".
func (t taken) same(c candidate) string {
	id := t[c.wants[1]]
	for _, w := range c.wants {
		if w.field == "access_key" && t[w] != id {
			return ""
		}
	}
	return id
}

// decide takes the candidates in their order, and returns for each why not, and who is
// left.
func (t taken) decide(candidates []candidate) (refusals []error, accepted []candidate) {
	now := maps.Clone(t)
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

// asked is how many values a list in a question has: as many as one user can have keys.
const asked = auth.MaxKeys

// selectTaken is one question about all that users want: of several, one after the
// other, somebody who is added meanwhile would be there for the later ones alone.
var selectTaken = `SELECT 'user_id', id, id FROM auth_users WHERE id ` + list(asked) + `
UNION ALL SELECT 'username', username_folded, id FROM auth_users WHERE username_folded ` + list(asked) + `
UNION ALL SELECT 'username', username_folded, '' FROM auth_retired_usernames WHERE username_folded ` + list(asked) + `
UNION ALL SELECT 'email', email_folded, id FROM auth_users WHERE email_folded ` + list(asked) + `
UNION ALL SELECT 'access_key', id, user_id FROM auth_access_keys WHERE id ` + list(asked)

// findTaken returns what is taken of what the candidates want.
func findTaken(ctx context.Context, t tx, candidates []candidate) (taken, error) {
	type owned struct {
		want
		owner string
	}
	found := taken{}
	for len(candidates) > 0 {
		if err := t.callerErr(); err != nil {
			return nil, err
		}
		var arguments []any
		arguments, candidates = askAbout(candidates)
		rows, err := collect(ctx, t.querier, func(o *owned) []any { return []any{&o.field, &o.value, &o.owner} }, selectTaken, arguments...)
		if err != nil {
			return nil, err
		}
		for _, o := range rows {
			found[o.want] = o.owner
		}
	}
	return found, nil
}

// askAbout returns the arguments of selectTaken for the first of the candidates, as many
// as there is room for, and the others.
func askAbout(candidates []candidate) (arguments []any, others []candidate) {
	of := map[string][]string{}
	n := 0
	for n < len(candidates) && n < asked && len(of["access_key"])+len(candidates[n].Keys) <= asked {
		for _, w := range candidates[n].wants {
			of[w.field] = append(of[w.field], w.value)
		}
		n++
	}
	if len(of["email"]) == 0 {
		of["email"] = []string{""} // which nobody has
	}
	for _, field := range []string{"user_id", "username", "username", "email", "access_key"} {
		arguments = append(arguments, padded(of[field], asked)...)
	}
	return arguments, candidates[n:]
}
