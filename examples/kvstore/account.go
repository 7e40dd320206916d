package kvstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// account holds all records of one user.
type account struct {
	User     auth.User
	Keys     map[string]auth.AccessKey
	Sessions map[string]auth.Session
	GitHub   map[string]connection // by GitHub host

	// Remembered contains the GitHub accounts that the store remembers for the user: see
	// SignInGitHub of [auth.GitHubStore].
	Remembered []auth.GitHubAccount

	Clients map[string]time.Time // last sign-in from each client, by the hash of the client

	indexed map[entry]bool // index entries that the store contains for the account
}

// connection is a GitHub link, its token and the token's lease.
type connection struct {
	Link        auth.GitHubLink
	Token       *auth.GitHubToken
	LeasedUntil time.Time // end of the token's lease
}

// entry identifies an entry of an index.
type entry struct{ bucket, key string }

// taken returns the error for an entry that another account has. If the entry is for a field of a user or a
// key, the error is an [auth.ExistsError], so that the caller learns which value to change.
func (e entry) taken() error {
	switch e.bucket {
	case accounts:
		return &auth.ExistsError{Field: "user_id"}
	case usernames:
		return &auth.ExistsError{Field: "username"}
	case emails:
		return &auth.ExistsError{Field: "email"}
	case keys:
		return &auth.ExistsError{Field: "access_key"}
	}
	return auth.ErrExists
}

// entries returns the index entries that must exist for the account.
func (a *account) entries() map[entry]bool {
	entries := map[entry]bool{{usernames, auth.FoldASCII(a.User.Username)}: true}
	if a.User.Email != "" {
		entries[entry{emails, auth.FoldASCII(a.User.Email)}] = true
	}
	if administers(a.User) {
		entries[entry{administrators, a.User.ID}] = true
	}
	kind := persons
	if a.User.IsService {
		kind = services
	}
	entries[entry{kind, a.User.ID}] = true
	for id, key := range a.Keys {
		entries[entry{keys, id}] = true
		if !key.ExpiresAt.IsZero() {
			entries[entry{keyExpiry, expiryKey(key.ExpiresAt, id)}] = true
		}
		if !key.PreviousUntil.IsZero() {
			entries[entry{overlapEnd, expiryKey(key.PreviousUntil, id)}] = true
		}
	}
	for id, session := range a.Sessions {
		entries[entry{sessions, id}] = true
		entries[entry{sessionExpiry, expiryKey(session.ExpiresAt, id)}] = true
	}
	for _, c := range a.GitHub {
		entries[entry{links, linkKey(c.Link.Account)}] = true
	}
	for hash, seen := range a.Clients {
		entries[entry{clientTimes, expiryKey(seen, clientID(a.User.ID, hash))}] = true
	}
	for _, account := range a.Remembered {
		entries[entry{remembered, linkKey(account)}] = true
	}
	return entries
}

// newAccount returns an account that contains the user and no other records.
func newAccount(user auth.User) *account {
	user.CreatedAt, user.LastLogin, user.AdmittedAt =
		kept(user.CreatedAt), kept(user.LastLogin), kept(user.AdmittedAt)
	return &account{
		User: user, Keys: map[string]auth.AccessKey{}, Sessions: map[string]auth.Session{},
		GitHub: map[string]connection{}, Clients: map[string]time.Time{},
	}
}

// account returns the account of the user with this ID, or [auth.ErrNotFound].
func (t tx) account(id string) (*account, error) {
	text := t.bucket(accounts).Get([]byte(id))
	if text == nil {
		return nil, auth.ErrNotFound
	}
	return decode(text)
}

func decode(text []byte) (*account, error) {
	a := newAccount(auth.User{})
	if err := json.Unmarshal(text, a); err != nil {
		return nil, err
	}
	a.indexed = a.entries()
	return a, nil
}

// accountOf reads the user ID that the index has for the key, and returns the account of that user.
// If the index does not contain the key, accountOf returns [auth.ErrNotFound].
func (t tx) accountOf(index, key string) (*account, error) {
	id := t.bucket(index).Get([]byte(key))
	if id == nil {
		return nil, auth.ErrNotFound
	}
	return t.account(string(id))
}

// add saves a new account, or returns [auth.ErrExists].
func (t tx) add(a *account) error {
	if t.bucket(accounts).Get([]byte(a.User.ID)) != nil {
		return entry{accounts, a.User.ID}.taken()
	}
	return t.save(a)
}

// save writes the account and updates its index entries. If another account already has one of the
// entries, save returns [auth.ErrExists]. The transaction must then be rolled back.
func (t tx) save(a *account) error {
	entries := a.entries()
	for old := range a.indexed {
		if !entries[old] {
			if err := t.bucket(old.bucket).Delete([]byte(old.key)); err != nil {
				return err
			}
		}
	}
	for e := range entries {
		if a.indexed[e] {
			continue
		}
		if t.bucket(e.bucket).Get([]byte(e.key)) != nil {
			return e.taken()
		}
		if err := t.bucket(e.bucket).Put([]byte(e.key), []byte(a.User.ID)); err != nil {
			return err
		}
	}
	a.indexed = entries
	return t.put(accounts, a.User.ID, a)
}

// put stores the value as JSON.
func (t tx) put(bucket, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return t.bucket(bucket).Put([]byte(key), text)
}

// remove deletes the account. The username stays taken, because it is retired.
func (c *change) remove(a *account) error {
	for e := range a.indexed {
		if err := c.bucket(e.bucket).Delete([]byte(e.key)); err != nil {
			return err
		}
	}
	if err := c.retire(a.User); err != nil {
		return err
	}
	return c.bucket(accounts).Delete([]byte(a.User.ID))
}

// change gets an account from the method accountOf, calls the callback do with the account, and
// saves the account.
func (t tx) change(index, key string, do func(*account) error) error {
	a, err := t.accountOf(index, key)
	if err != nil {
		return err
	}
	if err := do(a); err != nil {
		return err
	}
	return t.save(a)
}

// changeUser calls the callback do with the account of the user with this ID, and saves the
// account.
func (t tx) changeUser(id string, do func(*account) error) error {
	a, err := t.account(id)
	if err != nil {
		return err
	}
	if err := do(a); err != nil {
		return err
	}
	return t.save(a)
}

// linkKey returns the index key of the GitHub account. A host contains no NUL, so no two accounts
// have the same key.
func linkKey(account auth.GitHubAccount) string {
	return account.Host + "\x00" + string(binary.BigEndian.AppendUint64(nil, uint64(account.ID)))
}

// expiryKey returns a key that begins with the time, so that the entries of an index sort by time.
func expiryKey(at time.Time, id string) string { return timeKey(at) + id }

const timeLength = 8

func timeKey(at time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro())^1<<63))
}

// due returns the IDs of records that expire at the given time or earlier. The parameter limit is
// the maximum number of IDs. Every key of the index must be a result of expiryKey.
func (t tx) due(index string, expired time.Time, limit int) (ids []string) {
	end := []byte(timeKey(expired))
	cursor := t.bucket(index).Cursor()
	for key, _ := cursor.First(); key != nil && len(ids) < limit; key, _ = cursor.Next() {
		if bytes.Compare(key[:timeLength], end) > 0 {
			break
		}
		ids = append(ids, string(key[timeLength:]))
	}
	return ids
}

// lastExpiry returns the latest time in the index, or the zero time if the index is empty. Every
// key of the index must be a result of expiryKey.
func (t tx) lastExpiry(index string) time.Time {
	key, _ := t.bucket(index).Cursor().Last()
	if key == nil {
		return time.Time{}
	}
	return timeOf(string(key))
}

// timeOf returns the time at the beginning of a key from expiryKey.
func timeOf(key string) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64([]byte(key)) ^ 1<<63)).UTC()
}

// userPrefix returns the prefix of all keys of the user in an index. An example of such an index is
// inForce. A user ID contains no NUL, so no key of another user has this prefix.
func userPrefix(userID string) string { return userID + "\x00" }

// keysUnder returns all keys of the index that begin with the prefix, in order.
func (t tx) keysUnder(index, prefix string) (keys []string) {
	cursor := t.bucket(index).Cursor()
	for key, _ := cursor.Seek([]byte(prefix)); strings.HasPrefix(string(key), prefix) &&
		key != nil; key, _ = cursor.Next() {
		keys = append(keys, string(key))
	}
	return keys
}

// after returns an iterator over the keys of the bucket that are greater than the given key, with
// their values, in the order of the bytes of the keys.
func (t tx) after(bucket, after string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range t.from(bucket, after) {
			if key != after && !yield(key, value) {
				return
			}
		}
	}
}

// from does the same as after, but begins with the given key, if the bucket has this key.
func (t tx) from(bucket, first string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		cursor := t.bucket(bucket).Cursor()
		for key, value := cursor.Seek([]byte(first)); key != nil; key, value = cursor.Next() {
			if !yield(string(key), value) {
				return
			}
		}
	}
}

// backwards returns an iterator over the keys of the index that have the prefix, the last key
// first. The iterator yields each key without the prefix. If the parameter before is not empty, the
// iterator yields only texts that are less than this parameter.
func (t tx) backwards(index, prefix, before string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if before == "" {
			before = "\xff" // greater than every time
		}
		cursor := t.bucket(index).Cursor()
		key, _ := cursor.Seek([]byte(prefix + before))
		if key == nil {
			key, _ = cursor.Last()
		} else {
			key, _ = cursor.Prev()
		}
		for ; key != nil; key, _ = cursor.Prev() {
			rest, has := strings.CutPrefix(string(key), prefix)
			if !has || !yield(rest) {
				return
			}
		}
	}
}
