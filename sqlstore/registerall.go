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
// RegisterUsers inserts the users in pieces, with a savepoint before each piece. At first,
// RegisterUsers does not query whether unique values, such as usernames, are taken. In a new
// database no value is taken, and the queries would double the time of the call. If an insertion
// fails, RegisterUsers queries which values are taken, and repeats only the failed piece.
func (s *Store) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := user.Validate(); err != nil {
			return nil, err
		}
	}
	if err := w.By.CheckOwner(""); err != nil {
		return nil, err
	}
	first, later := orderCandidates(users)
	return writeFor(ctx, &s.core, "register all", func(ctx context.Context, t tx) ([]error, error) {
		r := registration{t: t, refusals: make([]error, len(users))}
		var a acting
		return r.refusals, runInOrder(
			func() (err error) { a, err = hold(ctx, t, w, locks{}); return err },
			func() error { return a.check(ctx) },
			func() error {
				for _, user := range users {
					if err := a.grantNewUser(user.User, user.Keys...); err != nil {
						return err
					}
				}
				return nil
			},
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

// orderCandidates splits the users into two lists. RegisterUsers adds the first list before the
// second list. Two users of a call can need the same unique value, for example the same username.
// The later user can then be added only if the earlier user was not added. So the later user goes
// into the second list, which keeps the order of the call. The first list contains all other users,
// sorted by username.
//
// Because of the sorting, rows of the same index page are inserted one after another. The sorting
// also prevents a deadlock if two calls need the same usernames. Both calls then insert these
// usernames in the same order, and one call waits for the other.
func orderCandidates(users []auth.UserWithKeys) (first, later []candidate) {
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

// registration is one call of [Store.RegisterUsers] in its transaction.
type registration struct {
	t        tx
	refusals []error // by the user's position in the call
	// ask is true if addPiece must query which values are taken before it inserts the next piece.
	// ask becomes true if an insertion fails, and stays true while pieces contain taken values.
	ask bool
}

// pieceSize is the maximum number of users that are inserted after one savepoint. In PostgreSQL,
// each savepoint begins a subtransaction. PostgreSQL keeps up to 64 subtransactions of a
// transaction in shared memory, where other database connections can read them fast. A transaction
// of 100,000 users needs fewer than 64 subtransactions if few values are taken.
const pieceSize = 4096

func (r *registration) prepareToAsk(ctx context.Context) error {
	if statement := r.t.store.dialect.beforeQuestions; statement != "" {
		return r.t.change(ctx, statement)
	}
	return nil
}

// addAll adds the candidates in pieces. Another transaction can take a value after addPiece has
// queried which values are taken, but before it inserts the candidates. The insertion then fails,
// and addAll tries again with half as many candidates.
func (r *registration) addAll(ctx context.Context, candidates []candidate) error {
	size, failures := pieceSize, 0 // failures of a piece with a single candidate
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
				return errors.New("a value of one user was free before each insertion and taken during " +
					"it, in every attempt")
			}
		}
	}
	return nil
}

// addPiece adds the candidates that can be added, and records an error for each other candidate. An
// insertion can fail because addPiece did not query which values are taken, or because another
// transaction took a value after the query. addPiece then changes nothing and returns
// [auth.ErrExists].
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
		// Without the release, the next savepoint would be nested in this one.
		err = cmp.Or(r.t.change(ctx, `RELEASE SAVEPOINT registering`), err)
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

var selectAnyRetired = `SELECT EXISTS (SELECT 1 FROM auth_retired_usernames WHERE username_folded ` + inList(askedValues) + `)`

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
	return runInOrder(
		func() error {
			return insertRows(ctx, t, insertUsers, userRow, users, func(c candidate) []any {
				return userValues(c.User)
			})
		},
		func() error { return insertRows(ctx, t, insertAccessKeys, accessKeyRow, keys, keyValues) },
		// The usernames of deleted users are checked after the insertion: see addUser.
		func() error { return requireNoneRetired(ctx, t, names) },
	)
}

func requireNoneRetired(ctx context.Context, t tx, names []string) error {
	for some := range slices.Chunk(names, askedValues) {
		if err := t.callerErr(); err != nil {
			return err
		}
		retired, err := t.queryBool(ctx, selectAnyRetired, padded(some, askedValues)...)
		if err == nil && retired {
			err = auth.ErrExists
		}
		if err != nil {
			return err
		}
	}
	return nil
}
