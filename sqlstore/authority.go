package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// acting is a transaction of a method that takes an [auth.Write]. The transaction makes a change on
// behalf of the authority Write.By. Such a change is called a lasting change.
type acting struct {
	tx
	w     auth.Write
	users map[string]auth.User // the locked records of users, by ID

	// everybody is the generation in the row of auth_everybody, if hold has locked the row.
	// Otherwise it is zero: see revokedForEverybody.
	everybody int64
	now       time.Time
	session   auth.Session // of the authority, after check
}

// locks describes what a lasting change must lock. In addition, every lasting change locks the row
// of auth_everybody and the record of the user who makes the change.
type locks struct {
	// users are the IDs of the users that the change is about. These users need not exist.
	users []string

	// superUsers must be true if the change can reduce the number of super users.
	superUsers bool

	// exclusive must be true if no other lasting change may run at the same time.
	exclusive bool
}

// hold takes the locks in the order that [auth.AccountStore] requires. The caller then calls
// [acting.check]. After that, the caller can lock keys, sessions, links and the head of the
// revocation feed, in this order.
func hold(ctx context.Context, t tx, w auth.Write, wanted locks) (a acting, err error) {
	a = acting{tx: t, w: w}
	err = runInOrder(
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

// holdOwner locks the user and checks that the authority is allowed to change records of this user.
// holdOwner returns [auth.ErrNotFound] if the user does not exist.
func holdOwner(ctx context.Context, t tx, w auth.Write, userID string) (a acting, err error) {
	return holdOwnerWith(ctx, t, w, userID, locks{})
}

// holdOwnerWith is holdOwner with additional locks.
func holdOwnerWith(
	ctx context.Context, t tx, w auth.Write, userID string, wanted locks,
) (a acting, err error) {
	wanted.users = []string{userID}
	if a, err = holdAs(ctx, t, w, userID, wanted); err != nil {
		return a, err
	}
	_, err = a.user(userID)
	return a, err
}

// holdForNewUser is like holdOwner, but for a user who is not in the store yet. Such a user has no
// record to lock.
func holdForNewUser(ctx context.Context, t tx, w auth.Write, userID string) (a acting, err error) {
	return holdAs(ctx, t, w, userID, locks{})
}

// holdAs takes the locks and checks that the authority is allowed to change records of the user
// with the given ID.
func holdAs(
	ctx context.Context, t tx, w auth.Write, userID string, wanted locks,
) (a acting, err error) {
	if err := checkOwner(w, userID); err != nil {
		return a, err
	}
	if a, err = hold(ctx, t, w, wanted); err != nil {
		return a, err
	}
	err = a.check(ctx)
	return a, err
}

// checkOwner does the same as [auth.Authority.CheckOwner], but returns [auth.ErrNotFound] for an ID
// that cannot be in the database.
func checkOwner(w auth.Write, userID string) error {
	if !storable(userID, auth.MaxIDLength) {
		return auth.ErrNotFound
	}
	return w.By.CheckOwner(userID)
}

// ids returns the IDs of the users to lock, including the actor of the new event. If the actor were
// not locked, another transaction could delete the actor at the same time. The event would then
// contain the client address of a deleted user.
func (a acting) ids(wanted locks) []string {
	ids := append([]string{a.w.By.UserID}, wanted.users...)
	if a.store.keepsUsers() && a.w.Event.Kind != "" {
		ids = append(ids, a.w.Event.ActorID)
	}
	return ids
}

// user returns the record of a user that [hold] has locked, or [auth.ErrNotFound] if the user does
// not exist.
func (a acting) user(id string) (auth.User, error) {
	user, ok := a.users[id]
	if !ok {
		return user, auth.ErrNotFound
	}
	return user, nil
}

// check returns an error unless the authority is valid now. The caller has taken all locks with
// [hold]. check reads the session in a separate statement. A statement that also waits for a lock
// would see the session as it was before the wait.
func (a *acting) check(ctx context.Context) error {
	by := a.w.By
	if by.Host != "" {
		a.now = storedTime(a.w.Now())
		return nil
	}
	session, revokedBelow, err := findActing(ctx, a.querier, selectActing, by)
	if err != nil {
		return err
	}
	a.now, a.session = storedTime(a.w.Now()), session
	facts := a.facts()
	facts.RevokedBelow = max(revokedBelow, a.everybody)
	return facts.Check()
}

// facts returns what the transaction knows about the authority, after check. Only check needs the
// RevokedBelow.
func (a acting) facts() storekit.Acting {
	return storekit.Acting{By: a.w.By, Now: a.now, Session: a.session, User: a.users[a.w.By.UserID]}
}

// grant calls [storekit.Acting.CheckGrant], after check.
func (a acting) grant(granted *auth.ScopeSet) error { return a.facts().CheckGrant(granted) }

// grantKey calls [storekit.Acting.CheckKeyGrant], after check. [hold] has locked the owner of the key.
func (a acting) grantKey(owner string, granted *auth.ScopeSet) error {
	return a.facts().CheckKeyGrant(a.users[owner], granted)
}

// grantNewUser calls [storekit.Acting.CheckNewUser], after check.
func (a acting) grantNewUser(user auth.User, keys ...auth.AccessKey) error {
	return a.facts().CheckNewUser(user, keys...)
}

const (
	selectActing = `
SELECT ` + sessionColumns + `, (SELECT e.generation FROM auth_everybody e WHERE e.id = 1),
	(SELECT MAX(r.generation) FROM auth_revocations r WHERE r.user_id = ? AND r.session_id = '' AND r.expires_at > 0)
FROM auth_sessions s WHERE s.id = ?`
	shareActing = selectActing + ` FOR SHARE`
)

// findActing returns the session of the authority, and the RevokedBelow of
// [storekit.Acting]. A session of the user is revoked if the session's Generation is below
// revokedBelow. If the session does not exist, both results are zero.
func findActing(
	ctx context.Context, q querier, query string, by auth.Authority,
) (session auth.Session, revokedBelow int64, err error) {
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

// revokedForEverybody returns the Generation below which RevokeEverybody has revoked all sessions.
// If the dialect has one writer, hold locks and reads no row, so revokedForEverybody reads it.
func (a acting) revokedForEverybody(ctx context.Context) (below int64, err error) {
	if !a.store.dialect.oneWriter {
		return a.everybody, nil
	}
	err = a.row(ctx, selectEverybody).Scan(&below)
	return below, err
}

// holdEverybody locks the only row of the table auth_everybody until the transaction ends. Lasting
// changes share this lock. If exclusive is true, holdEverybody first waits for all lasting changes
// that hold the lock. New lasting changes then wait until this transaction ends.
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
			return fmt.Errorf("wait for the advisory lock of everybody: %w", err)
		}
	}
	if err := a.row(ctx, query).Scan(&a.everybody); err != nil {
		return fmt.Errorf("lock the row of auth_everybody: %w", err)
	}
	return nil
}

// maxHeld is the maximum number of users that one change locks. These are the user who makes the
// change, the user that the change is about, and the actor of the event.
const maxHeld = 3

var (
	lockUsers     = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id ` + inList(maxHeld) + ` ORDER BY u.id FOR UPDATE`
	lockHostUsers = `SELECT h.id FROM auth_host_users h WHERE h.id ` + inList(maxHeld) + ` ORDER BY h.id FOR UPDATE`
)

const lockHostUser = `SELECT h.id FROM auth_host_users h WHERE h.id = ? FOR UPDATE`

// holdUsers locks the records of the users with these IDs until the transaction ends, and returns
// the users that exist. holdUsers locks all users in one statement, in the order of their IDs. A
// transaction calls holdUsers at most one time. So two transactions never deadlock over users.
//
// The users of an [Accounts] are in a table of the host. So for an Accounts, holdUsers locks rows
// of auth_host_users. If a user has no such row yet, holdUsers inserts the row.
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
		return lockListed(ctx, t, lockHostUser, lockHostUsers, ids, func(u *auth.User) []any {
			return []any{&u.ID}
		})
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

// insertHostUser is an INSERT without its last clause. Callers append the clause that
// dialect.unlessExists returns, because a concurrent transaction can insert the same row.
const insertHostUser = `INSERT INTO auth_host_users (id) VALUES (?)`

// lockListed locks the users and returns them by ID. The parameter one is the query for a single
// ID, and several is the query for more IDs.
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
