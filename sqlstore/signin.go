package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// signIn is a call of CreateSession.
type signIn struct {
	session auth.Session
	limit   int
}

// signedIn is the result of a call of CreateSession.
type signedIn struct {
	session auth.Session
	user    auth.User
}

// CreateSession implements [auth.SessionStore].
func (s *core) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), session.Validate()); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	in := signIn{session, limit}
	done, err := signedIn{}, error(nil)
	if session.AccessKeyID == "" || s.signInsOf.busy(session.UserID) {
		done, err = s.signInOfUser(ctx, in)
	} else {
		done, err = s.signIns.do(ctx, s.timeout, verb[signIn, signedIn]{
			name: createSession, alone: s.signInOfUser, together: s.signInTogether}, in)
	}
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return done.session, done.user, nil
}

const createSession = "create session"

// maxInOrder is the maximum number of sign-ins that a transaction makes one after the other. Each of
// them runs several statements, and can lock the head of the revocation feed until the end.
const maxInOrder = 8

// signInOfUser adds one session in a transaction that it shares only with calls of the same user.
func (s *core) signInOfUser(ctx context.Context, in signIn) (signedIn, error) {
	return s.signInsOf.do(ctx, s.timeout, verb[signIn, signedIn]{
		name: createSession, alone: s.signIn, again: s.signInOfUser, together: s.signInsOfUser,
	}, in.session.UserID, in)
}

// signIn adds one session in a transaction of its own.
func (s *core) signIn(ctx context.Context, in signIn) (signedIn, error) {
	answers, err := s.signInsOfUser(ctx, []signIn{in})
	if err != nil {
		return signedIn{}, err
	}
	return answers[0].out, answers[0].err
}

// signInsOfUser adds sessions of one user in one transaction, and waits for the locks. The answer to a
// call is "again" if too many calls must run one after the other.
func (s *core) signInsOfUser(ctx context.Context, ins []signIn) ([]answer[signedIn], error) {
	return writeTogether(ctx, s, createSession, func(
		ctx context.Context, t tx,
	) ([]answer[signedIn], bool, error) {
		user, err := holdActive(ctx, t, ins[0].session.UserID)
		if isAnswer(err) {
			return slices.Repeat([]answer[signedIn]{{err: err}}, len(ins)), false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if len(ins) == 1 {
			answers := []answer[signedIn]{{alone: true}}
			changed, err := addInOrder(ctx, t, user, ins, answers)
			return answers, changed, err
		}
		if err := holdKeys(ctx, t, ins); err != nil {
			return nil, false, err
		}
		answers, changed, err := addSessionsOf(ctx, t, map[string]auth.User{user.ID: user}, ins)
		if err != nil {
			return nil, false, err
		}
		more, err := addInOrder(ctx, t, user, ins, answers)
		return answers, changed || more, err
	})
}

// addInOrder adds the sessions of the calls that must run alone, one after the other. The caller has
// locked the user and, if there are several calls, the keys.
func addInOrder(
	ctx context.Context, t tx, user auth.User, ins []signIn, answers []answer[signedIn],
) (changed bool, err error) {
	n := 0
	for i, in := range ins {
		a := &answers[i]
		if !a.alone {
			continue
		}
		*a = answer[signedIn]{again: n >= maxInOrder}
		if n++; a.again {
			continue
		}
		a.out.session = in.session
		a.out.user, a.err = addSession(ctx, t, &a.out.session, in.limit, user, time.Time{})
		switch {
		case a.err == nil:
			user, changed = a.out.user, true
		case !errors.Is(a.err, auth.ErrNotFound) && !errors.Is(a.err, auth.ErrInsufficientScope):
			// addSession returns these two errors before it writes.
			return false, a.err
		}
	}
	return changed, nil
}

const lockKeys = `SELECT k.id FROM auth_access_keys k WHERE k.id `

// holdKeys locks the keys that open the sessions. If a later session of the batch locked its key itself,
// it could wait for the key while an earlier session has locked the head of the revocation feed.
func holdKeys(ctx context.Context, t tx, ins []signIn) error {
	_, err := collectListed(ctx, t.querier, func(id *string) []any { return []any{id} }, lockKeys,
		` ORDER BY k.id FOR UPDATE`, keyIDs(ins))
	return err
}

// keyIDs returns the IDs of the keys that open the sessions.
func keyIDs(ins []signIn) []string {
	ids := fieldOf(ins, func(in signIn) string { return in.session.AccessKeyID })
	return slices.DeleteFunc(ids, func(id string) bool { return !storable(id, storekit.MaxAccessKeyLength) })
}

const (
	lockFreeUsers     = `SELECT ` + userColumns + ` FROM auth_users u WHERE u.id `
	lockFreeUserIDs   = `SELECT u.id FROM auth_users u WHERE u.id `
	lockFreeHostUsers = `SELECT u.id FROM auth_host_users u WHERE u.id `
	skipLocked        = ` FOR UPDATE SKIP LOCKED`

	// lockFreeKeys also reads the newest position of the feed, and counts the sessions of the key's
	// user that may be live. The argument is a time that is not later than the CreatedAt of any
	// session of the batch.
	lockFreeKeys = `
SELECT ` + keyColumns + `, (SELECT h.position FROM auth_revocation_head h WHERE h.id = 1), (
	SELECT COUNT(*) FROM auth_sessions s WHERE s.user_id = k.user_id AND s.expires_at > ?` + notRevokedForEverybody + `)
FROM auth_access_keys k WHERE k.id `
)

// signInTogether adds the sessions of a batch in one transaction. The answer to a call is "alone" if
// the user or the key is missing or locked, and if the user has so many sessions that the oldest must
// be revoked.
func (s *core) signInTogether(ctx context.Context, ins []signIn) ([]answer[signedIn], error) {
	return writeTogether(ctx, s, createSession, func(
		ctx context.Context, t tx,
	) ([]answer[signedIn], bool, error) {
		return addSessions(ctx, t, ins)
	})
}

func addSessions(
	ctx context.Context, t tx, ins []signIn,
) (_ []answer[signedIn], changed bool, err error) {
	users, err := holdFree(ctx, t, fieldOf(ins, func(in signIn) string { return in.session.UserID }))
	if err != nil {
		return nil, false, err
	}
	return addSessionsOf(ctx, t, users, ins)
}

// addSessionsOf adds the sessions of the locked users.
func addSessionsOf(
	ctx context.Context, t tx, users map[string]auth.User, ins []signIn,
) (_ []answer[signedIn], changed bool, err error) {
	keys, err := holdFreeKeys(ctx, t, ins)
	if err != nil {
		return nil, false, err
	}
	b := signInBatch{users: users, keys: keys, added: map[string]int{}}
	answers := make([]answer[signedIn], len(ins))
	for i, in := range ins {
		answers[i] = b.add(t, in)
	}
	return answers, len(b.sessions) > 0, b.write(ctx, t)
}

// heldKey is a locked key, and what the batch must know about the key's user.
type heldKey struct {
	auth.AccessKey
	head     int64 // the newest position of the feed
	sessions int   // number of sessions of the user that may be live
}

// holdFreeKeys locks the keys that open the sessions, except those that another transaction has
// locked. The users are locked, so nobody else can add a session or revoke all sessions of a user.
func holdFreeKeys(ctx context.Context, t tx, ins []signIn) (map[string]heldKey, error) {
	first := ins[0].session.CreatedAt
	for _, in := range ins {
		if in.session.CreatedAt.Before(first) {
			first = in.session.CreatedAt
		}
	}
	fields := func(k *heldKey) []any { return append(keyFields(&k.AccessKey), &k.head, &k.sessions) }
	found, err := collectListed(ctx, t.querier, fields, lockFreeKeys, ` ORDER BY k.id`+skipLocked,
		keyIDs(ins), toMicros(first))
	return byID(found, func(k heldKey) string { return k.ID }), err
}

// fieldOf returns the values of a field, without the empty ones and without duplicates.
func fieldOf[T any](ins []T, field func(T) string) []string {
	var values []string
	for _, in := range ins {
		if v := field(in); v != "" {
			values = append(values, v)
		}
	}
	return distinct(values)
}

// distinct returns the values sorted and without duplicates. It changes the given slice.
func distinct(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

// holdFree locks the users that exist and that no other transaction has locked. It locks them in the
// order of their IDs, as [holdUsers] does.
func holdFree(ctx context.Context, t tx, ids []string) (map[string]auth.User, error) {
	query, fields := lockFreeUsers, userFields
	if !t.store.keepsUsers() {
		query, fields = lockFreeHostUsers, userIDField
	}
	return holdFreeFields(ctx, t, query, fields, ids)
}

// holdFreeIDs is holdFree for a caller that needs only the locks, not the records. If the database has one
// writer, the transaction needs no locks, so holdFreeIDs reads nothing and returns all the users.
func holdFreeIDs(ctx context.Context, t tx, ids []string) (map[string]auth.User, error) {
	if t.store.dialect.oneWriter {
		all := make(map[string]auth.User, len(ids))
		for _, id := range ids {
			all[id] = auth.User{ID: id}
		}
		return all, nil
	}
	query := lockFreeUserIDs
	if !t.store.keepsUsers() {
		query = lockFreeHostUsers
	}
	return holdFreeFields(ctx, t, query, userIDField, ids)
}

// userIDField is like [userFields] for a query that reads only the ID.
func userIDField(u *auth.User) []any { return []any{&u.ID} }

func holdFreeFields(
	ctx context.Context, t tx, query string, fields func(*auth.User) []any, ids []string,
) (map[string]auth.User, error) {
	ids = slices.DeleteFunc(ids, func(id string) bool { return !storable(id, auth.MaxIDLength) })
	found, err := collectListed(ctx, t.querier, fields, query, ` ORDER BY u.id`+skipLocked, ids)
	return byID(found, func(u auth.User) string { return u.ID }), err
}

func byID[T any](records []T, id func(T) string) map[string]T {
	found := make(map[string]T, len(records))
	for _, r := range records {
		found[id(r)] = r
	}
	return found
}

// collectListed is like [collect]. The query is the text before and after a condition with the IDs.
// There are at most maxTogether IDs. The arguments are those before the condition.
func collectListed[T any](
	ctx context.Context, q querier, into func(*T) []any, before, after string, ids []string,
	arguments ...any,
) ([]T, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, listed := listOf(q.store.dialect, ids)
	return collect(ctx, q, into, before+list+after, append(arguments, listed...)...)
}

// signInBatch decides the answers of a batch, and collects the rows to write.
type signInBatch struct {
	users map[string]auth.User // locked users, by ID
	keys  map[string]heldKey   // locked keys, by ID
	added map[string]int       // number of sessions that the batch adds, by user ID

	sessions [][]any
	logins   lastTimes // of users
	uses     lastTimes // of keys
}

// lastTimes has the last of several times for each ID.
type lastTimes struct {
	ids   []string
	times []int64
}

func (l *lastTimes) set(id string, at time.Time) {
	i := slices.Index(l.ids, id)
	if i < 0 {
		l.ids, l.times = append(l.ids, id), append(l.times, 0)
		i = len(l.ids) - 1
	}
	l.times[i] = toMicros(at)
}

// add decides the answer to one call.
func (b *signInBatch) add(t tx, in signIn) answer[signedIn] {
	session := in.session
	user, held := b.users[session.UserID]
	key, keyHeld := b.keys[session.AccessKeyID]
	if !held || !keyHeld {
		return answer[signedIn]{alone: true}
	}
	session.CreatedAt, session.ExpiresAt = storedTime(session.CreatedAt), storedTime(session.ExpiresAt)
	session, err := storekit.OpenSession(session, key.AccessKey)
	if err := cmp.Or(checkActive(t, user), err); err != nil {
		return answer[signedIn]{err: err}
	}
	if in.limit >= 1 && key.sessions+b.added[user.ID] >= in.limit {
		return answer[signedIn]{alone: true}
	}
	b.added[user.ID]++
	b.use(key, session.CreatedAt)
	session.Generation = key.head
	b.sessions = append(b.sessions, sessionValues(session))
	if t.store.keepsUsers() {
		user.LastLogin = session.CreatedAt
		b.logins.set(user.ID, user.LastLogin)
	}
	return answer[signedIn]{out: signedIn{session, user}}
}

// use records the use of the key, as [useKey] does.
func (b *signInBatch) use(key heldKey, at time.Time) {
	if mustRecordUse(key.AccessKey, at) {
		key.LastUsedAt = at
		b.keys[key.ID] = key
		b.uses.set(key.ID, at)
	}
}

func (b *signInBatch) write(ctx context.Context, t tx) error {
	if len(b.sessions) == 0 {
		return nil
	}
	err := t.changeAll(ctx,
		insertBatch(t.store.dialect, `auth_sessions`, sessionTable, b.sessions),
		updateBatch(t.store.dialect, `auth_users`, `last_login`, b.logins.ids, b.logins.times),
		updateBatch(t.store.dialect, `auth_access_keys`, `last_used_at`, b.uses.ids, b.uses.times),
	)
	return t.store.existsOr(err)
}

var sessionTable = []column{{name: "id"}, {name: "user_id"}, {name: "method"}, {name: "access_key_id"},
	{name: "created_at", number: true}, {name: "expires_at", number: true},
	{name: "user_agent"}, {name: "address"}, {name: "generation", number: true}, {name: "scopes"},
	{name: "audience"}}

func sessionValues(s auth.Session) []any {
	return []any{s.ID, s.UserID, string(s.Method), s.AccessKeyID,
		toMicros(s.CreatedAt), toMicros(s.ExpiresAt), s.UserAgent, s.Address, s.Generation,
		scopesValue(s.Scopes), s.Audience}
}
