package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/sallyport-go/auth"
)

// RegisterAll implements [auth.UserStore].
//
// It takes for granted that nothing is taken, which a fresh database and a list
// without repetitions make true, and asks only when the database says otherwise: to
// ask about every name first would take as long again as to add it.
func (s *Store) RegisterAll(ctx context.Context, users []auth.UserWithKeys) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := user.Validate(); err != nil {
			return nil, err
		}
	}
	first, later := inTurn(users)
	return writeUsers(ctx, s, "register all", func(ctx context.Context, t tx) ([]error, error) {
		r := registration{t: t, refusals: make([]error, len(users))}
		if err := r.addAll(ctx, first); err != nil {
			return nil, err
		}
		r.ask = true
		return r.refusals, r.addAll(ctx, later)
	})
}

// inTurn returns those who want nothing that somebody before them in the list wants, in
// the order of their names, and those who do, in the order of the list: whether they can
// have it depends on what becomes of the others.
//
// The order of the names keeps together what goes to the same page of an index, and lets
// two calls that want the same names wait for each other and not get in each other's way.
func inTurn(users []auth.UserWithKeys) (first, later []candidate) {
	wanted := newTaken()
	for at, user := range users {
		c := candidate{user, at, auth.FoldASCII(user.User.Username), auth.FoldASCII(user.User.Email)}
		if wanted.conflict(c) == "" {
			first = append(first, c)
		} else {
			later = append(later, c)
		}
		wanted.take(c)
	}
	slices.SortFunc(first, func(a, b candidate) int { return cmp.Compare(a.username, b.username) })
	return first, later
}

// registration is a call of RegisterAll at work, in a transaction.
type registration struct {
	t        tx
	refusals []error // by the place in the list
	ask      bool    // what is taken, before adding: something has been
}

// atOnce is how many users are added behind one savepoint, once something has been taken.
// A transaction of 100,000 makes fewer than the 64 with which PostgreSQL keeps to memory
// that others can read fast.
const atOnce = 2048

// addAll adds the candidates: all together, so that their keys go to the index in one
// order, or some at a time. Of what others take meanwhile it asks again, and about fewer,
// so that nobody keeps it from getting through.
func (r *registration) addAll(ctx context.Context, candidates []candidate) error {
	size, alone := len(candidates), 0
	if r.ask {
		size = atOnce
	}
	for len(candidates) > 0 {
		some := candidates[:min(size, len(candidates))]
		err := r.addSome(ctx, some)
		switch {
		case err == nil:
			candidates, size, alone = candidates[len(some):], min(2*size, atOnce), 0
			continue
		case !errors.Is(err, auth.ErrExists):
			return err
		case !r.ask:
			r.ask, size = true, atOnce
		case len(some) > 1:
			size = len(some) / 2
		default:
			if alone++; alone == maxAttempts {
				return errors.New("what a user wants is free, and taken when it is added, again and again")
			}
		}
	}
	return nil
}

// addSome adds those of the candidates who can be added, and notes why the others cannot.
// It returns [auth.ErrExists], and has changed nothing, if more than it knew is taken.
func (r *registration) addSome(ctx context.Context, some []candidate) error {
	refusals, accepted := make([]error, len(some)), some
	if r.ask {
		inUse, err := findTaken(ctx, r.t, some)
		if err != nil {
			return err
		}
		refusals, accepted = inUse.decide(some)
	}
	if err := r.t.change(ctx, `SAVEPOINT registering`); err != nil {
		return err
	}
	if err := insertAll(ctx, r.t, accepted); err != nil {
		if errors.Is(err, auth.ErrExists) {
			err = cmp.Or(r.t.change(ctx, `ROLLBACK TO SAVEPOINT registering`), err)
		}
		return err
	}
	for i, c := range some {
		r.refusals[c.at] = refusals[i]
	}
	return r.t.change(ctx, `RELEASE SAVEPOINT registering`)
}

// insertAll adds the users and their keys, or returns [auth.ErrExists].
func insertAll(ctx context.Context, t tx, users []candidate) error {
	if len(users) == 0 {
		return nil
	}
	var names []string
	var keys []auth.AccessKey
	for _, user := range users {
		names = append(names, user.username)
		keys = append(keys, user.Keys...)
	}
	slices.SortFunc(keys, func(a, b auth.AccessKey) int { return cmp.Compare(a.ID, b.ID) })
	return inOrder(
		func() error {
			return insertRows(ctx, t, insertUsers, userRow, users, func(c candidate) []any { return userValues(c.User) })
		},
		func() error { return insertRows(ctx, t, insertAccessKeys, accessKeyRow, keys, keyValues) },
		func() error { // last, for the reason that addUser has
			retired := map[string]string{}
			err := findOwners(ctx, t, selectRetireds, names, retired)
			if err == nil && len(retired) > 0 {
				err = auth.ErrExists
			}
			return err
		},
	)
}
