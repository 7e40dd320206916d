package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/sallyport-go/auth"
)

// RegisterUsers implements [auth.UserStore].
//
// It takes for granted that nothing is taken, which a fresh database and a list
// without repetitions make true, and asks only when the database says otherwise: to
// ask about every name first would take as long again as to add it. It adds a piece of
// the list at a time, so that no more is done again for what was taken than a piece.
func (s *Store) RegisterUsers(ctx context.Context, w auth.Write, users []auth.UserWithKeys) ([]error, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := user.Validate(); err != nil {
			return nil, err
		}
	}
	for _, user := range users {
		if err := w.By.CheckOwner(user.User.ID); err != nil {
			return nil, err
		}
	}
	first, later := inTurn(users)
	return writeFor(ctx, &s.core, "register all", func(ctx context.Context, t tx) ([]error, error) {
		r := registration{t: t, refusals: make([]error, len(users))}
		var a acting
		return r.refusals, inOrder(
			func() (err error) { a, err = hold(ctx, t, w, locks{}); return err },
			func() error { return a.check(ctx) },
			func() error { return r.prepareToAsk(ctx) },
			func() error { return r.addAll(ctx, first) },
			func() error { r.ask = true; return r.addAll(ctx, later) },
			func() error {
				if !slices.Contains(r.refusals, nil) {
					return nil
				}
				return a.addEvent(ctx, about{})
			},
		)
	})
}

// inTurn returns those who want nothing that somebody before them in the list wants, in
// the order of their names, and those who do, in the order of the list: whether they can
// have it depends on what becomes of the others.
//
// The order of the names keeps together what goes to the same page of an index, and lets
// two calls that want the same names wait for each other and not get in each other's way.
func inTurn(users []auth.UserWithKeys) (first, later []candidate) {
	wanted := taken{}
	for at, user := range users {
		c := newCandidate(at, user)
		if wanted.conflict(c) == "" {
			first = append(first, c)
		} else {
			later = append(later, c)
		}
		wanted.take(c)
	}
	slices.SortFunc(first, func(a, b candidate) int { return cmp.Compare(a.username(), b.username()) })
	return first, later
}

// registration is a call of RegisterUsers at work, in a transaction.
type registration struct {
	t        tx
	refusals []error // by the place in the list
	ask      bool    // what is taken, before adding: something was, the last time
}

// pieceSize is how many users are added behind one savepoint. A transaction of 100,000
// makes fewer than the 64 with which PostgreSQL keeps to memory that others can read
// fast, as long as little is taken.
const pieceSize = 4096

func (r *registration) prepareToAsk(ctx context.Context) error {
	if statement := r.t.store.dialect.beforeQuestions; statement != "" {
		return r.t.change(ctx, statement)
	}
	return nil
}

// addAll adds the candidates, a piece at a time. What others take between a question and
// the addition it asks about again, of fewer candidates each time: they can hold up
// those beside whose names they take, and not the others.
func (r *registration) addAll(ctx context.Context, candidates []candidate) error {
	size, failures := pieceSize, 0 // failures of one candidate
	for len(candidates) > 0 {
		piece := candidates[:min(size, len(candidates))]
		err := r.addPiece(ctx, piece)
		switch {
		case err == nil:
			candidates, size, failures = candidates[len(piece):], min(2*size, pieceSize), 0
			continue
		case !errors.Is(err, auth.ErrExists):
			return err
		case !r.ask:
			r.ask = true
		case len(piece) > 1:
			size = len(piece) / 2
		default:
			if failures++; failures == maxAttempts {
				return errors.New("what a user wants is free, and taken when it is added, again and again")
			}
		}
	}
	return nil
}

// addPiece adds those of the candidates who can be added, and notes why the others cannot.
// It returns [auth.ErrExists], and has changed nothing, if more than it knew is taken.
func (r *registration) addPiece(ctx context.Context, piece []candidate) error {
	refusals, accepted := make([]error, len(piece)), piece
	if r.ask {
		found, err := findTaken(ctx, r.t, piece)
		if err != nil {
			return err
		}
		refusals, accepted = found.decide(piece)
	}
	if err := r.t.change(ctx, `SAVEPOINT registering`); err != nil {
		return err
	}
	err := insertAll(ctx, r.t, accepted)
	if errors.Is(err, auth.ErrExists) {
		err = cmp.Or(r.t.change(ctx, `ROLLBACK TO SAVEPOINT registering`), err)
	}
	if err == nil || errors.Is(err, auth.ErrExists) {
		err = cmp.Or(r.t.change(ctx, `RELEASE SAVEPOINT registering`), err) // or the next would be inside of it
	}
	if err != nil {
		return err
	}
	for i, c := range piece {
		r.refusals[c.at] = refusals[i]
	}
	r.ask = len(accepted) < len(piece)
	return nil
}

var selectAnyRetired = `SELECT EXISTS (SELECT 1 FROM auth_retired_usernames WHERE username_folded ` + list(asked) + `)`

// insertAll adds the users and their keys, or returns [auth.ErrExists].
func insertAll(ctx context.Context, t tx, users []candidate) error {
	if len(users) == 0 {
		return nil
	}
	var names []string
	var keys []auth.AccessKey
	for _, user := range users {
		names = append(names, user.username())
		keys = append(keys, user.Keys...)
	}
	slices.SortFunc(keys, func(a, b auth.AccessKey) int { return cmp.Compare(a.ID, b.ID) })
	return inOrder(
		func() error {
			return insertRows(ctx, t, insertUsers, userRow, users, func(c candidate) []any { return userValues(c.User) })
		},
		func() error { return insertRows(ctx, t, insertAccessKeys, accessKeyRow, keys, keyValues) },
		func() error { return requireNoneRetired(ctx, t, names) }, // last, for the reason that addUser has
	)
}

func requireNoneRetired(ctx context.Context, t tx, names []string) error {
	for some := range slices.Chunk(names, asked) {
		if err := t.callerErr(); err != nil {
			return err
		}
		retired, err := t.ask(ctx, selectAnyRetired, padded(some, asked)...)
		if err == nil && retired {
			err = auth.ErrExists
		}
		if err != nil {
			return err
		}
	}
	return nil
}
