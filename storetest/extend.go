package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var extendPromises = []promise[auth.AccountStore]{
	{"an extended session keeps everything except its end", extendedKeepsTheRest},
	{"a session is not extended beyond its key", extendedWithinKey},
	{"an extended session keeps its scopes", extendedKeepsScopes},
	{"a dead session is not extended", deadIsNotExtended},
	{"a revocation of an extended session lasts as long as the session", revocationLastsAsLong},
	{"an entry for a session outlives all its tokens if an extension was lost", entryOutlivesTokens},
	{"extending a session that is being revoked leaves nothing alive", extendingWhileRevoking},
	{"revoking the other sessions spares that of the authority", othersAreRevoked},
	{"of two sessions that revoke each other one stays", revokingEachOther},
	{"the host has no session to extend or to spare", hostHasNoSession},
}

func extendedKeepsTheRest(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, longer := range []time.Duration{3 * time.Hour, 2 * time.Hour, 4*time.Hour + 999} {
		want, until := a.session, now.Add(longer)
		if until = until.Truncate(time.Microsecond).UTC(); until.After(want.ExpiresAt) {
			want.ExpiresAt = until
		}
		extended, user, err := store.ExtendSession(t.Context(), bySession(a.session, now), until)
		require.NoError(t, err)
		require.Equal(t, want, extended)
		require.Equal(t, a.user.ID, user.ID)
		requireSession(t, store, want)
		a.session = want
	}
	sessions, err := store.ListSessions(t.Context(), a.user.ID, now.Add(3*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []auth.Session{a.session}, sessions)
	_, err = store.PruneSessions(t.Context(), now.Add(2*time.Hour), 1000)
	require.NoError(t, err)
	requireSession(t, store, a.session)
	require.Empty(t, entriesOf(t, store, a.user))
}

func extendedWithinKey(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(2*time.Hour))
	session := openSession(t, store, newSession(key))
	for range 2 {
		extended, _, err := store.ExtendSession(t.Context(), bySession(session, now), now.Add(3*time.Hour))
		require.NoError(t, err)
		require.Equal(t, key.ExpiresAt, extended.ExpiresAt)
		requireSession(t, store, extended)
	}
}

func extendedKeepsScopes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	limited := newSession(a.key)
	limited.Scopes = auth.NewScopes("a")
	session := openSession(t, store, limited)
	extended, _, err := store.ExtendSession(t.Context(), bySession(session, now), now.Add(3*time.Hour))
	require.NoError(t, err)
	require.True(t, extended.Scopes.Equal(auth.NewScopes("a")))
}

// deadIsNotExtended tries to extend sessions that are dead or that must not act.
func deadIsNotExtended(t *testing.T, store auth.AccountStore) {
	until := now.Add(3 * time.Hour)
	expired := newAccount(t, store)
	_, _, err := store.ExtendSession(t.Context(), bySession(expired.session, now.Add(time.Hour)), until)
	require.ErrorIs(t, err, auth.ErrTokenRejected)

	elsewhere := newHostSession(expired.user)
	elsewhere.Audience = "https://reports.example.com"
	_, _, err = store.ExtendSession(t.Context(), bySession(openSession(t, store, elsewhere), now), until)
	require.ErrorIs(t, err, auth.ErrTokenRejected)

	delegated := bySession(expired.session, now)
	delegated.By.Actor = "service"
	_, _, err = store.ExtendSession(t.Context(), delegated, until)
	require.ErrorIs(t, err, auth.ErrDelegated)

	for _, e := range endingsOf(store) {
		if e.demotes {
			continue
		}
		a := e.newActor(t, store)
		require.NoError(t, e.end(t.Context(), store, byHost(now), a), e.name)
		_, _, err := store.ExtendSession(t.Context(), bySession(a.session, now), until)
		require.Error(t, err, e.name)
		_, err = store.RevokeOtherSessions(t.Context(), bySession(a.session, now))
		require.Error(t, err, e.name)
		requireNoSession(t, store, a.session.ID)
	}
}

func revocationLastsAsLong(t *testing.T, store auth.AccountStore) {
	until := now.Add(2 * tokenLifetime)
	for name, revoke := range map[string]func(a account) error{
		"RevokeSession": func(a account) error {
			return store.RevokeSession(t.Context(), byHost(now), a.session.ID)
		},
		"RevokeToken with the earlier claims": func(a account) error {
			return store.RevokeToken(t.Context(), claimsOf(a.session))
		},
		"RevokeUserSessions": func(a account) error {
			_, err := store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
			return err
		},
		"RevokeOtherSessions": func(a account) error {
			other := openSession(t, store, newSession(a.key))
			_, err := store.RevokeOtherSessions(t.Context(), bySession(other, now))
			return err
		},
	} {
		a := newAccount(t, store)
		_, _, err := store.ExtendSession(t.Context(), bySession(a.session, now), until)
		require.NoError(t, err)
		require.NoError(t, revoke(a), name)
		entries := entriesOf(t, store, a.user)
		require.NotEmpty(t, entries, name)
		require.False(t, entries[len(entries)-1].ExpiresAt.Before(until), name)
	}
}

// entryOutlivesTokens revokes sessions whose records end before a token could. A store that has lost the
// commit of ExtendSession has such a record.
func entryOutlivesTokens(t *testing.T, store auth.AccountStore) {
	for name, revoke := range map[string]func(a account) error{
		"RevokeSession": func(a account) error {
			return store.RevokeSession(t.Context(), byHost(now), a.session.ID)
		},
		"RevokeOtherSessions": func(a account) error {
			other := openSession(t, store, newHostSession(a.user))
			_, err := store.RevokeOtherSessions(t.Context(), bySession(other, now))
			return err
		},
		"RevokeKey": func(a account) error { return store.RevokeKey(t.Context(), byHost(now), a.key.ID) },
		"SetKeyScopes": func(a account) error {
			_, err := store.SetKeyScopes(t.Context(), byHost(now), a.key.ID, auth.NewScopes("a"))
			return err
		},
		"CreateSession beyond the limit": func(a account) error {
			// The key limits the session.
			session := newSession(addKey(t, store, a.user, now.Add(time.Minute)))
			session.CreatedAt, session.ExpiresAt = now, now.Add(tokenLifetime)
			_, _, err := store.CreateSession(t.Context(), session, 1)
			return err
		},
	} {
		a := newAccount(t, store)
		require.True(t, a.session.ExpiresAt.Before(now.Add(tokenLifetime)))
		require.NoError(t, revoke(a), name)
		entries := entriesOf(t, store, a.user)
		require.Len(t, entries, 1, name)
		require.Equal(t, now.Add(tokenLifetime), entries[0].ExpiresAt, name)
	}
}

// extendingWhileRevoking extends a session on several goroutines while it is revoked.
func extendingWhileRevoking(t *testing.T, store auth.AccountStore) {
	until := now.Add(2 * tokenLifetime)
	for range rounds(t) {
		a := newAccount(t, store)
		extended := make([]bool, contenders)
		errs := race(contenders, func(i int) error {
			if i == contenders/2 {
				return store.RevokeToken(t.Context(), claimsOf(a.session))
			}
			_, _, err := store.ExtendSession(t.Context(), bySession(a.session, now), until)
			extended[i] = err == nil
			return nil
		})
		require.NoError(t, errs[contenders/2])
		requireNoSession(t, store, a.session.ID)
		entries := entriesOf(t, store, a.user)
		require.Len(t, entries, 1)
		for _, ok := range extended {
			require.False(t, ok && entries[0].ExpiresAt.Before(until), "the entry must outlive the session")
		}
	}
}

func othersAreRevoked(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	expired := newHostSession(a.user)
	expired.ExpiresAt = now
	openSession(t, store, expired)
	live := []auth.Session{openSession(t, store, newSession(a.key)),
		openSession(t, store, newHostSession(a.user))}
	revoked, err := store.RevokeOtherSessions(t.Context(), bySession(a.session, now))
	require.NoError(t, err)
	require.Equal(t, len(live), revoked)
	requireSession(t, store, a.session)
	requireNoSession(t, store, expired.ID)
	for _, session := range live {
		requireNoSession(t, store, session.ID)
		require.True(t, isDead(readFeed(t, store), session))
	}
	require.False(t, isDead(readFeed(t, store), a.session))
	other.requireUnchanged(t, store)

	limited := newSession(a.key)
	limited.Scopes = auth.NewScopes("a")
	unscoped := bySession(openSession(t, store, limited), now)
	unscoped.By.Scope = "b"
	_, err = store.RevokeOtherSessions(t.Context(), unscoped)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	requireSession(t, store, a.session)
	unscoped.By.Scope = "a"
	revoked, err = store.RevokeOtherSessions(t.Context(), unscoped)
	require.NoError(t, err)
	require.Equal(t, 1, revoked)
	a.session = limited

	before := len(entriesOf(t, store, a.user))
	revoked, err = store.RevokeOtherSessions(t.Context(), bySession(a.session, now))
	require.NoError(t, err)
	require.Zero(t, revoked)
	require.Len(t, entriesOf(t, store, a.user), before)
	_, err = store.RevokeOtherSessions(t.Context(), bySession(live[0], now))
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

func revokingEachOther(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		sessions := []auth.Session{a.session, openSession(t, store, newHostSession(a.user))}
		errs := race(len(sessions), func(i int) error {
			_, err := store.RevokeOtherSessions(t.Context(), bySession(sessions[i], now))
			return err
		})
		for i, err := range errs {
			if err == nil {
				requireSession(t, store, sessions[i])
				require.ErrorIs(t, errs[1-i], auth.ErrTokenRejected)
				requireNoSession(t, store, sessions[1-i].ID)
			}
		}
		require.True(t, errs[0] == nil || errs[1] == nil)
	}
}

func hostHasNoSession(t *testing.T, store auth.AccountStore) {
	_, err := store.RevokeOtherSessions(t.Context(), byHost(now))
	require.ErrorIs(t, err, auth.ErrInvalid)
	_, _, err = store.ExtendSession(t.Context(), byHost(now), now.Add(time.Hour))
	require.ErrorIs(t, err, auth.ErrInvalid)
}
