package storetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// audiencePromises are about the audiences of sessions.
var audiencePromises = []promise[auth.AccountStore]{
	{"a session keeps its audience", sessionAudiences},
	{"a session that GitHub opens keeps its audience", githubSessionAudiences},
	{"a session with an invalid audience is refused", invalidAudiences},
}

// audienceAuthorityPromises need one store each, because they revoke the sessions of all users.
var audienceAuthorityPromises = []promise[auth.AccountStore]{
	{"a session for another audience changes nothing", audienceOfAuthority},
}

// audiences are texts of every kind: the issuer itself, the longest audience, and texts that have a
// meaning in a database.
var audiences = []string{
	"", "https://reports.example.com", "!", "NULL", "null", "'", "''';--", "?", "$1", "%s", "{}", ",",
	strings.Repeat("~", 256),
}

func sessionAudiences(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, audience := range audiences {
		for _, want := range []auth.Session{newSession(a.key), newHostSession(a.user)} {
			want.Audience = audience
			got := openSession(t, store, want)
			requireSameSession(t, want, got)
			requireSessionRead(t, store, got)
		}
	}
}

func githubSessionAudiences(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for _, audience := range audiences {
		next := a.bareSignIn()
		next.Session.Audience = audience
		session, _, err := store.SignInGitHub(t.Context(), byHost(now), next)
		require.NoError(t, err)
		requireSameSession(t, next.Session, session)
		requireSessionRead(t, store, session)
	}
}

func invalidAudiences(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, bad := range []string{
		" ", "a b", "a ", `a"b`, `a\b`, "é", "a\x00", "a\n", "a\x7f", "\xff", strings.Repeat("x", 257),
	} {
		for _, session := range []auth.Session{newSession(a.key), newHostSession(a.user)} {
			session.CreatedAt, session.Audience = refusedAt, bad
			_, _, err := store.CreateSession(t.Context(), session, 0)
			requireInvalidField(t, err, "audience")
			requireNoSession(t, store, session.ID)
			a.requireUnchanged(t, store)
		}
	}
}

// audienceOfAuthority calls each verb with a session that was opened for another audience.
func audienceOfAuthority(t *testing.T, store auth.AccountStore) {
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			session := newSession(a.key)
			session.Audience = "https://reports.example.com"
			session = openSession(t, store, session)
			before := takeSnapshot(t, store, a, try)
			write := withEvent(v.write(session, now))
			require.ErrorIs(t, try.call(t.Context(), write), auth.ErrTokenRejected)
			require.Equal(t, before, takeSnapshot(t, store, a, try))
			if trail, ok := store.(auth.EventStore); ok {
				require.Empty(t, eventsOf(t, trail, write))
			}
			require.NoError(t, try.call(t.Context(), v.write(a.session, now)))
		})
	}
}
