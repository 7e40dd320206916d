package sqlstore

import (
	"context"
	"maps"
	"slices"

	"github.com/sallyport-go/auth"
)

// candidate is a user in a call of [Store.RegisterUsers].
type candidate struct {
	auth.UserWithKeys
	at    int    // position in the call
	wants []want // unique values in the order of the checks: ID, username, …
}

// want is a value of a candidate that no other user may have.
type want struct {
	field string // the name in [auth.ExistsError]
	value string // folded if the comparison ignores case
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

// taken maps each taken value to the ID of the user who has it. For the username of a deleted user,
// the ID is "".
type taken map[want]string

// conflict looks for a value of the candidate that is taken, or that the candidate has twice.
// conflict returns the field of the first such value, or "" if there is none.
func (t taken) conflict(c candidate) (field string) {
	for i, w := range c.wants {
		if _, is := t[w]; is || slices.Contains(c.wants[:i], w) {
			return w.field
		}
	}
	return ""
}

// take marks all values of the candidate as taken.
func (t taken) take(c candidate) {
	for _, w := range c.wants {
		t[w] = c.User.ID
	}
}

// sameUser returns the ID of the user who has the username and all keys of the candidate, or "" if
// there is no such user.
func (t taken) sameUser(c candidate) string {
	id := t[c.wants[1]]
	for _, w := range c.wants {
		if w.field == "access_key" && t[w] != id {
			return ""
		}
	}
	return id
}

// decide determines, in order, which candidates can be added. After decide accepts a candidate, it
// refuses later candidates that need one of the same unique values. The result refusals has one
// element for each candidate: an error, or nil if the candidate is accepted.
func (t taken) decide(candidates []candidate) (refusals []error, accepted []candidate) {
	now := maps.Clone(t)
	refusals = make([]error, len(candidates))
	for i, c := range candidates {
		if field := now.conflict(c); field != "" {
			refusals[i] = &auth.ExistsError{Field: field, SameUserID: now.sameUser(c)}
		} else {
			now.take(c)
			accepted = append(accepted, c)
		}
	}
	return refusals, accepted
}

// askedValues is the number of values in each IN list of selectTaken. One list must have room for
// all keys of a user.
const askedValues = auth.MaxKeys

// selectTaken looks up all kinds of values in one query, so that all results are from the same
// moment. With a separate query for each kind, a user who is added between two queries would appear
// only in the results of the later query.
var selectTaken = `SELECT 'user_id', id, id FROM auth_users WHERE id ` + inList(askedValues) + `
UNION ALL SELECT 'username', username_folded, id FROM auth_users WHERE username_folded ` + inList(askedValues) + `
UNION ALL SELECT 'username', username_folded, '' FROM auth_retired_usernames WHERE username_folded ` + inList(askedValues) + `
UNION ALL SELECT 'email', email_folded, id FROM auth_users WHERE email_folded ` + inList(askedValues) + `
UNION ALL SELECT 'access_key', id, user_id FROM auth_access_keys WHERE id ` + inList(askedValues)

// findTaken returns which of the candidates' values are taken.
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
		arguments, candidates = takenArguments(candidates)
		rows, err := collect(ctx, t.querier,
			func(o *owned) []any { return []any{&o.field, &o.value, &o.owner} }, selectTaken, arguments...)
		if err != nil {
			return nil, err
		}
		for _, o := range rows {
			found[o.want] = o.owner
		}
	}
	return found, nil
}

// takenArguments returns the arguments for one run of selectTaken. The run looks up as many
// candidates as fit, beginning with the first. takenArguments also returns the remaining
// candidates.
func takenArguments(candidates []candidate) (arguments []any, others []candidate) {
	of := map[string][]string{}
	n := 0
	for n < len(candidates) && n < askedValues &&
		len(of["access_key"])+len(candidates[n].Keys) <= askedValues {
		for _, w := range candidates[n].wants {
			of[w.field] = append(of[w.field], w.value)
		}
		n++
	}
	if len(of["email"]) == 0 {
		of["email"] = []string{""} // no user has this value
	}
	for _, field := range []string{"user_id", "username", "username", "email", "access_key"} {
		arguments = append(arguments, padded(of[field], askedValues)...)
	}
	return arguments, candidates[n:]
}
