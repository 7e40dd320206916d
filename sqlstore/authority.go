package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// acting is a transaction that makes a lasting change on behalf of an authority.
type acting struct {
	tx
	w     auth.Write
	users map[string]auth.User // the user records that are locked, by ID

	everybody int64 // sessions of a Generation below it are revoked
	now       time.Time
}

// locks says what a change locks besides the record of everybody and the actor's record.
type locks struct {
	// users are the IDs of the users that the change is about. They need not exist.
	users []string

	// superUsers is set if the change may leave one super user fewer.
	superUsers bool

	// exclusive is set if no other lasting change may be under way.
	exclusive bool
}

// hold takes the locks in the order that [auth.AccountStore] says. Keys, sessions, links and the
// head of the feed come later and in this order. The caller then calls check.
func hold(ctx context.Context, t tx, w auth.Write, wanted locks) (a acting, err error) {
	a = acting{tx: t, w: w}
	err = inOrder(
		func() error { return a.holdEverybody(ctx, wanted.exclusive) },
		func() error {
			if !wanted.superUsers {
				return nil
			}
			return holdSuperUsers(ctx, t)
		},
		func() (err error) { a.users, err = holdUsers(ctx, t, a.ids(wanted)...); return err },
	)
	return a, err
}

// holdOwner locks the user, checks that the authority may change records of this user, and returns
// [auth.ErrNotFound] if there is no such user.
func holdOwner(ctx context.Context, t tx, w auth.Write, userID string) (a acting, err error) {
	return holdOwnerWith(ctx, t, w, userID, locks{})
}

// holdOwnerWith is holdOwner with further locks.
func holdOwnerWith(ctx context.Context, t tx, w auth.Write, userID string, wanted locks) (a acting, err error) {
	wanted.users = []string{userID}
	if a, err = holdAs(ctx, t, w, userID, wanted); err != nil {
		return a, err
	}
	_, err = a.user(userID)
	return a, err
}

// holdNobody is holdOwner for a user who is still to be added.
func holdNobody(ctx context.Context, t tx, w auth.Write, userID string) (a acting, err error) {
	return holdAs(ctx, t, w, userID, locks{})
}

// holdAs takes the locks and checks that the authority may change records of this user.
func holdAs(ctx context.Context, t tx, w auth.Write, userID string, wanted locks) (a acting, err error) {
	if err := checkOwner(w, userID); err != nil {
		return a, err
	}
	if a, err = hold(ctx, t, w, wanted); err != nil {
		return a, err
	}
	err = a.check(ctx)
	return a, err
}

// checkOwner is [auth.Authority.CheckOwner]. An ID that could never have been stored is nobody's.
func checkOwner(w auth.Write, userID string) error {
	if !storable(userID, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return w.By.CheckOwner(userID)
}

// ids returns the IDs of the users to lock. The actor of the event is one of them, so that no
// event with the client's address is added while this user is being deleted.
func (a acting) ids(wanted locks) []string {
	ids := append([]string{a.w.By.UserID}, wanted.users...)
	if a.store.keepsUsers() && a.w.Event.Kind != "" {
		ids = append(ids, a.w.Event.ActorID)
	}
	return ids
}

// user returns the record, which is locked, or [auth.ErrNotFound] if there is none.
func (a acting) user(id string) (auth.User, error) {
	user, ok := a.users[id]
	if !ok {
		return user, auth.ErrNotFound
	}
	return user, nil
}

// check returns an error unless the authority holds now. It is called after all locks have been
// taken. It reads in a statement of its own: the statement that waited for a lock sees what was
// there before it waited.
func (a *acting) check(ctx context.Context) error {
	by := a.w.By
	if by.Host != "" {
		a.now = kept(a.w.Now())
		return nil
	}
	session, revokedBelow, err := findActing(ctx, a.querier, selectActing, by)
	if err != nil {
		return err
	}
	a.now = kept(a.w.Now())
	return by.Check(a.now, session, a.users[by.UserID], max(revokedBelow, a.everybody))
}

const (
	selectActing = `
SELECT ` + sessionColumns + `, (SELECT e.generation FROM auth_everybody e WHERE e.id = 1),
	(SELECT MAX(r.generation) FROM auth_revocations r WHERE r.user_id = ? AND r.session_id = '')
FROM auth_sessions s WHERE s.id = ?`
	shareActing = selectActing + ` FOR SHARE`
)

// findActing returns the session of the authority, and below which Generation sessions of its user
// are revoked. Both are zero if there is no such session.
func findActing(ctx context.Context, q querier, query string, by auth.Authority) (session auth.Session, revokedBelow int64, err error) {
	var everybody int64
	fields := append(sessionFields(&session), &everybody, orZero[int64]{&revokedBelow})
	err = zeroIfNone(scan(q.row(ctx, query, by.UserID, by.SessionID), fields...))
	return session, max(everybody, revokedBelow), err
}

const (
	selectEverybody = `SELECT e.generation FROM auth_everybody e WHERE e.id = 1`
	shareEverybody  = selectEverybody + ` FOR SHARE`
	lockEverybody   = selectEverybody + ` FOR UPDATE`
)

// holdEverybody lets any number of lasting changes be under way at once, or this one alone.
func (a *acting) holdEverybody(ctx context.Context, exclusive bool) error {
	if a.store.dialect.oneWriter {
		return nil
	}
	query, turn := shareEverybody, a.store.dialect.shareTurn
	if exclusive {
		query, turn = lockEverybody, a.store.dialect.lockTurn
	}
	if turn != "" {
		var one int
		if err := a.row(ctx, turn, postgresLockID(a.store.prefix+"everybody")).Scan(&one); err != nil {
			return fmt.Errorf("wait for the turn of everybody: %w", err)
		}
	}
	if err := a.row(ctx, query).Scan(&a.everybody); err != nil {
		return fmt.Errorf("hold the row of the table of everybody: %w", err)
	}
	return nil
}

// maxHeld is how many users one change locks: the actor, the user that it is about, and the
// actor of its event.
const maxHeld = 3

var (
	lockUsers     = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id ` + list(maxHeld) + ` ORDER BY u.id FOR UPDATE`
	lockHostUsers = `SELECT h.id FROM auth_host_users h WHERE h.id ` + list(maxHeld) + ` ORDER BY h.id FOR UPDATE`
)

const lockHostUser = `SELECT h.id FROM auth_host_users h WHERE h.id = ? FOR UPDATE`

// holdUsers returns the users that exist of those with the IDs, and locks their records until the
// transaction ends. Every transaction that writes records of a user calls it, once, and it locks in
// one statement by ascending ID, so that no two transactions wait for each other's users.
//
// A store of accounts has a record to lock for each ID, which it adds the first time.
func holdUsers(ctx context.Context, t tx, ids ...string) (map[string]auth.User, error) {
	ids = slices.DeleteFunc(ids, func(id string) bool { return !storable(id, auth.MaxIDLength) })
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return nil, nil
	}
	if t.store.keepsUsers() {
		return lockListed(ctx, t, lockUser, lockUsers, ids, userFields)
	}
	lock := func() (map[string]auth.User, error) {
		return lockListed(ctx, t, lockHostUser, lockHostUsers, ids, func(u *auth.User) []any { return []any{&u.ID} })
	}
	users, err := lock()
	if err != nil || len(users) == len(ids) {
		return users, err
	}
	for _, id := range ids {
		if _, ok := users[id]; ok {
			continue
		}
		if err := t.change(ctx, insertHostUser+t.store.dialect.unlessExists("id"), id); err != nil {
			return nil, err
		}
	}
	return lock()
}

// insertHostUser is followed by what the dialect has for a row that a concurrent transaction adds.
const insertHostUser = `INSERT INTO auth_host_users (id) VALUES (?)`

// lockListed runs the query for one ID or the one for several.
func lockListed(
	ctx context.Context, t tx, one, several string, ids []string, fields func(*auth.User) []any,
) (map[string]auth.User, error) {
	query, arguments := one, []any{ids[0]}
	if len(ids) > 1 {
		query, arguments = several, padded(ids, maxHeld)
	}
	found, err := collect(ctx, t.querier, fields, query, arguments...)
	return maps.Collect(func(yield func(string, auth.User) bool) {
		for _, user := range found {
			if !yield(user.ID, user) {
				return
			}
		}
	}), err
}
