package storetest

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/storekit"
)

var claimPromises = []promise[auth.AccountStore]{
	{"revoking a token removes its session and names it in the feed", tokenRevoked},
	{"a token can be revoked if the store has no such session", lostSessionRevoked},
	{"a token can be revoked if the store has no such user", strangerRevoked},
	{"the entry of a revoked token expires no earlier than the token and the session", tokenEntryLives},
	{"the generation of a revoked token's entry is at most its position", claimedGenerationBounded},
	{"an entry for a user does not replace the entry of a token ahead of the feed", cappedEntryStays},
	{"revoking a token leaves the session of another user", foreignSessionStays},
	{"revoking a token repeatedly adds one entry", tokenRevokedOnce},
	{"revoking a token that an entry for its user already revokes adds nothing", coveredTokenAddsNothing},
	{"a token with invalid claims is refused", invalidClaims},
	{"of several concurrent calls that revoke one token, one adds an entry", racingTokenRevocations},
	{"all sessions of a user are revoked in the feed, even if the store has none", lostRowsRevoked},
	{"the entry for a user expires no earlier than any token", userEntryLives},
	{"a newer entry for a user replaces the older ones", userEntryReplaces},
	{"an entry for a user expires no earlier than the entries that it replaces", userEntryOutlives},
	{"revoking all sessions repeatedly leaves one entry in force", userLoopGrowsNothing},
	{"signing in and revoking the token repeatedly leaves one entry for each session", tokenLoopGrowsNothing},
}

var claimPromisesOfUsers = []promise[auth.Store]{
	{"disabling, resetting and deleting a user revoke sessions that the store has lost", lostRowsOfEndedUsers},
	{"disabling a disabled user revokes sessions again", disabledAgain},
}

// inForce returns the user's entries in the feed, without those that a newer entry has replaced.
func inForce(t *testing.T, store auth.AccountStore, user auth.User) []auth.Revocation {
	t.Helper()
	var entries []auth.Revocation
	for _, e := range entriesOf(t, store, user) {
		if !e.ExpiresAt.IsZero() {
			entries = append(entries, e)
		}
	}
	return entries
}

func revokeToken(t *testing.T, store auth.AccountStore, claims auth.SessionClaims) {
	t.Helper()
	require.NoError(t, store.RevokeToken(t.Context(), claims))
}

func tokenRevoked(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	second := openSession(t, store, newSession(a.key))
	revokeToken(t, store, claimsOf(a.session))
	requireNoSession(t, store, a.session.ID)
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 1)
	requireNamedUntil(t, a.session, a.session.ExpiresAt, entries[0])
	requireSession(t, store, second)
	require.False(t, isDead(entries, second))
	requireKey(t, store, a.key)
	other.requireUnchanged(t, store)
}

func lostSessionRevoked(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	lost := newSession(a.key)
	lost.Generation = a.session.Generation
	revokeToken(t, store, claimsOf(lost))
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 1)
	requireNamedUntil(t, lost, lost.ExpiresAt, entries[0])
	a.requireUnchanged(t, store)

	expired := newSession(a.key) // as if an instance whose clock is ahead had pruned the session
	expired.ExpiresAt = now.Add(time.Minute)
	expired = openSession(t, store, expired)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), expired.ID))
	revokeToken(t, store, claimsOf(expired))
	require.Len(t, entriesOf(t, store, a.user), 2, "the feed already names the session")
}

func strangerRevoked(t *testing.T, store auth.AccountStore) {
	user := newUser()
	claims := newClaims(user, 0)
	revokeToken(t, store, claims)
	requireNoUser(t, store, user.ID)
	entries := entriesOf(t, store, user)
	require.Len(t, entries, 1)
	require.Equal(t, claims.SessionID, entries[0].SessionID)
	require.Equal(t, claims.ExpiresAt, entries[0].ExpiresAt)
}

func tokenEntryLives(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, later := range []time.Duration{-time.Minute, 0, time.Minute} {
		session := openSession(t, store, newSession(a.key))
		claims := claimsOf(session)
		claims.ExpiresAt = session.ExpiresAt.Add(later)
		revokeToken(t, store, claims)
		entries := entriesOf(t, store, a.user)
		require.Equal(t, laterOf(session.ExpiresAt, claims.ExpiresAt),
			entries[len(entries)-1].ExpiresAt)
	}
	for name, test := range keptTimes {
		claims := newClaims(newUser(), 0)
		claims.ExpiresAt = test.in
		revokeToken(t, store, claims)
		require.Equal(t, test.want, entriesOf(t, store, auth.User{ID: claims.UserID})[0].ExpiresAt,
			name)
	}

	// The token expires later than the entry that names its session. So a new entry must replace
	// the old one.
	lost := newClaims(newUser(), 0)
	revokeToken(t, store, lost)
	lost.ExpiresAt = lost.ExpiresAt.Add(time.Microsecond)
	revokeToken(t, store, lost)
	entries := entriesOf(t, store, auth.User{ID: lost.UserID})
	require.Len(t, entries, 2)
	require.Zero(t, entries[0].ExpiresAt)
	require.Equal(t, lost.ExpiresAt, entries[1].ExpiresAt)
}

func claimedGenerationBounded(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	for _, generation := range []int64{math.MaxInt64, 1 << 53, 0} {
		revokeToken(t, store, newClaims(user, generation))
		entries := entriesOf(t, store, user)
		last := entries[len(entries)-1]
		require.Equal(t, min(generation, last.Position), last.Generation)
	}
	live := openSession(t, store, newHostSession(user))
	require.False(t, isDead(readFeed(t, store), live))
	require.NoError(t, store.AddKey(t.Context(), bySession(live, now), newKey(user)))
}

// foreignSessionStays revokes a token that names a user and the session of another user.
func foreignSessionStays(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	claims := claimsOf(a.session)
	claims.UserID = other.user.ID
	revokeToken(t, store, claims)
	a.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
	require.False(t, isDead(readFeed(t, store), a.session))
}

func tokenRevokedOnce(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range 3 {
		revokeToken(t, store, claimsOf(a.session))
		require.Len(t, entriesOf(t, store, a.user), 1)
	}
	lost := newClaims(a.user, 0)
	for range 3 {
		revokeToken(t, store, lost)
		require.Len(t, entriesOf(t, store, a.user), 2)
	}
}

func coveredTokenAddsNothing(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	endAll(t, store, a.user, now)
	revokeToken(t, store, claimsOf(a.session))
	require.Len(t, entriesOf(t, store, a.user), 1)

	longer := claimsOf(a.session) // this can happen after MaxTokenLifetime was lowered
	longer.ExpiresAt = now.Add(tokenLifetime + time.Microsecond)
	revokeToken(t, store, longer)
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 2, "the entry for the user expires before the token")
	require.Equal(t, longer.SessionID, entries[1].SessionID)
	require.Equal(t, longer.ExpiresAt, entries[1].ExpiresAt)
}

func invalidClaims(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	for name, edit := range map[string]func(c *auth.SessionClaims){
		"session_id": func(c *auth.SessionClaims) { c.SessionID = "" },
		"user_id":    func(c *auth.SessionClaims) { c.UserID = fill("", "x", limits.ID+1) },
		"expires_at": func(c *auth.SessionClaims) { c.ExpiresAt = time.Time{} },
	} {
		claims := newClaims(user, 0)
		edit(&claims)
		requireInvalidField(t, store.RevokeToken(t.Context(), claims), name)
	}
	require.Empty(t, entriesOf(t, store, user))
}

func racingTokenRevocations(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		lost := newClaims(a.user, a.session.Generation)
		require.NoError(t, errors.Join(race(contenders, func(i int) error {
			if i%2 == 0 {
				return store.RevokeToken(t.Context(), claimsOf(a.session))
			}
			return store.RevokeToken(t.Context(), lost)
		})...))
		require.Len(t, entriesOf(t, store, a.user), 2)
		requireNoSession(t, store, a.session.ID)
	}
}

func lostRowsRevoked(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	lost := newSession(key)
	lost.Generation = openSession(t, store, newHostSession(user)).Generation
	require.Equal(t, 1, endAll(t, store, user, now))
	require.True(t, isDead(entriesOf(t, store, user), lost))

	bare, _ := register(t, store, newUser())
	require.Zero(t, endAll(t, store, bare, now))
	entries := entriesOf(t, store, bare)
	require.Len(t, entries, 1)
	requireEndOfAll(t, bare, now.Add(tokenLifetime), entries[0])
	later := openSession(t, store, newHostSession(bare))
	require.False(t, isDead(entries, later))
}

func userEntryLives(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	for _, expires := range []time.Duration{time.Minute, tokenLifetime,
		tokenLifetime + time.Microsecond} {
		session := newSession(key)
		session.ExpiresAt = now.Add(expires)
		openSession(t, store, session)
		endAll(t, store, user, now)
		entries := entriesOf(t, store, user)
		require.Equal(t, now.Add(max(expires, tokenLifetime)), entries[len(entries)-1].ExpiresAt)
	}
	none := byHost(now)
	none.MaxTokenLifetime = 0
	_, err := store.RevokeUserSessions(t.Context(), none, user.ID)
	require.NoError(t, err)
}

func userEntryReplaces(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
	endAll(t, store, a.user, now)
	revokeToken(t, store, claimsOf(openSession(t, store, newSession(a.key))))
	endAll(t, store, a.user, now)
	entries := entriesOf(t, store, a.user)
	require.Len(t, entries, 4)
	for _, e := range entries[:3] {
		require.Zero(t, e.ExpiresAt, "the newest entry replaces it")
	}
	requireEndOfAll(t, a.user, now.Add(tokenLifetime), entries[3])
}

// userEntryOutlives revokes all sessions of a user twice. MaxTokenLifetime was longer at the first
// time, so a token that the first entry revokes can be valid for longer than MaxTokenLifetime now.
func userEntryOutlives(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	longer := byHost(now)
	longer.MaxTokenLifetime = 2 * tokenLifetime
	_, err := store.RevokeUserSessions(t.Context(), longer, user.ID)
	require.NoError(t, err)
	endAll(t, store, user, now)
	entries := entriesOf(t, store, user)
	require.Len(t, entries, 2)
	require.Zero(t, entries[0].ExpiresAt)
	requireEndOfAll(t, user, now.Add(2*tokenLifetime), entries[1])
}

func userLoopGrowsNothing(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range 20 {
		openSession(t, store, newSession(a.key))
		endAll(t, store, a.user, now)
		require.Len(t, inForce(t, store, a.user), 1)
	}
}

func tokenLoopGrowsNothing(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for i := range 10 {
		session := openSession(t, store, newSession(a.key))
		revokeToken(t, store, claimsOf(session))
		require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), session.ID), auth.ErrNotFound)
		revokeToken(t, store, claimsOf(session))
		require.Len(t, inForce(t, store, a.user), i+1)
	}
	endAll(t, store, a.user, now)
	require.Len(t, inForce(t, store, a.user), 1)
}

func lostRowsOfEndedUsers(t *testing.T, store auth.Store) {
	for _, test := range userEnds {
		t.Run(test.name, func(t *testing.T) {
			user, key := register(t, store, newUser())
			lost := newSession(key)
			require.NoError(t, test.end(t.Context(), store, account{user: user, key: key}))
			entries := entriesOf(t, store, user)
			require.Len(t, entries, 1)
			requireEndOfAll(t, user, now.Add(tokenLifetime), entries[0])
			require.True(t, isDead(entries, lost))
		})
	}
}

func disabledAgain(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for i := range 3 {
		update(t, store, a.user.ID, disable)
		require.Len(t, entriesOf(t, store, a.user), i+1)
		require.Len(t, inForce(t, store, a.user), 1)
	}
	update(t, store, a.user.ID, enable)
	require.Len(t, entriesOf(t, store, a.user), 3)
}

// cappedEntryStays revokes a token whose Generation is greater than every Position in the feed. Such a
// token can exist after the store has lost commits. The store adds a capped entry for the session of the
// token: see [storekit.IsCapped]. The capped entry must stay in force, because a later entry for all
// sessions of the user does not revoke the token.
func cappedEntryStays(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	ahead := claimsOf(newSession(a.key))
	ahead.Generation = math.MaxInt32
	revokeToken(t, store, ahead)
	for range 2 {
		_, err := store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
		require.NoError(t, err)
	}
	var named, ofUser int
	for _, e := range inForce(t, store, a.user) {
		if e.SessionID == ahead.SessionID {
			require.True(t, storekit.IsCapped(e))
			named++
		} else if e.SessionID == "" {
			require.False(t, storekit.IsCapped(e))
			ofUser++
		}
	}
	require.Equal(t, 1, named, "entry of the token")
	require.Equal(t, 1, ofUser, "entry of the user")
}
