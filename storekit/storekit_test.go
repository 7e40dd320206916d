package storekit_test

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

func TestAnAuthorityHoldsOnlyWhileItsSessionAndUserDo(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	type state struct {
		by      auth.Authority
		now     time.Time
		session auth.Session
		user    auth.User
		below   int64
	}
	for name, test := range map[string]struct {
		change func(*state)
		want   error
	}{
		"a live session":              {func(*state) {}, nil},
		"no record of the session":    {func(s *state) { s.session = auth.Session{} }, auth.ErrTokenRejected},
		"another session":             {func(s *state) { s.session.ID = "s2" }, auth.ErrTokenRejected},
		"the session of another user": {func(s *state) { s.session.UserID = "u2" }, auth.ErrTokenRejected},
		"expired at this moment":      {func(s *state) { s.session.ExpiresAt = now }, auth.ErrTokenRejected},
		"expires a microsecond later": {func(s *state) { s.session.ExpiresAt = now.Add(time.Microsecond) }, nil},
		"for another audience":        {func(s *state) { s.session.Audience = "a" }, auth.ErrTokenRejected},
		"for another audience, lacking a scope": {func(s *state) {
			s.session.Audience, s.session.Scopes, s.by.Scope = "a", auth.NewScopes(), "b"
		}, auth.ErrTokenRejected},
		"an entry above its generation":       {func(s *state) { s.below = 8 }, auth.ErrTokenRejected},
		"an entry of its generation":          {func(s *state) { s.below = 7 }, nil},
		"a disabled user":                     {func(s *state) { s.user.IsActive = false }, auth.ErrTokenRejected},
		"no record of the user":               {func(s *state) { s.user = auth.User{} }, auth.ErrTokenRejected},
		"another user":                        {func(s *state) { s.user.ID = "u2" }, auth.ErrTokenRejected},
		"a user of the host's":                {func(s *state) { s.user = auth.User{ID: "u1"} }, nil},
		"a super user's call by a plain user": {func(s *state) { s.by.SuperUser = true }, auth.ErrSuperUserRequired},
		"a super user": {func(s *state) {
			s.by.SuperUser, s.user.IsSuperUser = true, true
		}, nil},
		"a disabled super user": {func(s *state) {
			s.by.SuperUser, s.user.IsSuperUser, s.user.IsActive = true, true, false
		}, auth.ErrTokenRejected},
		"too old": {func(s *state) { s.by.MaxAge = 100 * time.Second }, auth.ErrSessionTooOld},
		"recent, but of a device": {func(s *state) {
			s.by.MaxAge, s.session.Method = time.Hour, auth.MethodDevice
		}, auth.ErrSessionTooOld},
		"just not too old":    {func(s *state) { s.by.MaxAge = 100*time.Second + 1 }, nil},
		"too old and revoked": {func(s *state) { s.by.MaxAge, s.below = time.Second, 8 }, auth.ErrTokenRejected},
		"a delegated token":   {func(s *state) { s.by.Actor = "agent" }, auth.ErrDelegated},
		"a delegated token of a revoked session": {func(s *state) {
			s.by.Actor, s.below, s.user.IsActive = "agent", 8, false
		}, auth.ErrDelegated},
		"a session that can only rotate its key": {func(s *state) {
			s.session.Scopes = auth.NewScopes(auth.ScopeRotate)
		}, auth.ErrInsufficientScope},
		"the rotation itself": {func(s *state) {
			s.session.Scopes, s.by.Scope = auth.NewScopes(auth.ScopeRotate), auth.ScopeRotate
		}, nil},
		"another limited session, without a scope": {func(s *state) { s.session.Scopes = auth.NewScopes() }, nil},
		"the zero authority":                       {func(s *state) { s.by, s.session = auth.Authority{}, auth.Session{ExpiresAt: now.Add(1)} }, auth.ErrTokenRejected},
		"the zero authority, without a user": {func(s *state) {
			s.by, s.user = auth.Authority{}, auth.User{}
			s.session.ID, s.session.UserID = "", ""
		}, auth.ErrTokenRejected},
		"the host, and nothing": {func(s *state) { *s = state{by: auth.ByHost("billing")} }, nil},
	} {
		s := state{
			by:  auth.Authority{SessionID: "s1", UserID: "u1"},
			now: now,
			session: auth.Session{
				ID: "s1", UserID: "u1", CreatedAt: now.Add(-100 * time.Second), ExpiresAt: now.Add(time.Hour), Generation: 7,
			},
			user: auth.User{ID: "u1", Username: "alice", IsActive: true},
		}
		test.change(&s)
		err := storekit.Acting{By: s.by, Now: s.now, Session: s.session, User: s.user,
			RevokedBelow: s.below}.Check()
		if test.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, test.want, name)
		}
	}
}

func TestAFoldKeepsTheNewestHalf(t *testing.T) {
	t.Parallel()
	named := make([]auth.Revocation, storekit.MaxNamedRevocations+1)
	for i := range named {
		generation := int64(len(named) - i)
		named[i] = auth.Revocation{UserID: "u1", SessionID: "s", Generation: generation,
			ExpiresAt: time.Unix(generation, 0)}
	}
	_, ok := storekit.FoldRevocations(named[1:])
	require.False(t, ok)
	folded, ok := storekit.FoldRevocations(named)
	require.True(t, ok)
	kept := 0
	for _, e := range named {
		if e.Generation >= folded.Generation {
			kept++
		}
	}
	require.Equal(t, storekit.MaxNamedRevocations/2, kept)
	require.Equal(t, auth.Revocation{UserID: "u1", Generation: folded.Generation,
		ExpiresAt: time.Unix(storekit.MaxNamedRevocations+1, 0)}, folded, "the last of all entries, also of kept ones")

	for i := range named { // all have the same Generation, so none is newer
		named[i].Generation = 5
	}
	folded, ok = storekit.FoldRevocations(named)
	require.True(t, ok)
	require.EqualValues(t, 6, folded.Generation)
}

func TestWhatASignInWithGitHubMayBeWrittenOver(t *testing.T) {
	t.Parallel()
	account, other := auth.GitHubAccount{Host: "github.com", ID: 1}, auth.GitHubAccount{Host: "github.com",
		ID: 2}
	existing := auth.GitHubSignInWrite{Link: auth.GitHubLink{Account: account, UserID: "u1"}}
	added := existing
	added.NewUser = &auth.User{ID: "u1"}
	withToken := existing
	withToken.Token, withToken.TokenVersion = &auth.GitHubToken{}, "v1"
	for name, test := range map[string]struct {
		write    auth.GitHubSignInWrite
		state    storekit.GitHubState
		hasUsers bool
		want     error
	}{
		"linked":                            {existing, storekit.GitHubState{LinkedTo: "u1", RememberedFor: "u1", UserAccount: account}, true, nil},
		"linked to another":                 {existing, storekit.GitHubState{LinkedTo: "u2", RememberedFor: "u2"}, true, auth.ErrChanged},
		"linked to nobody":                  {existing, storekit.GitHubState{}, true, auth.ErrChanged},
		"unlinked":                          {existing, storekit.GitHubState{RememberedFor: "u1"}, true, auth.ErrGitHubNotAllowed},
		"new":                               {added, storekit.GitHubState{}, true, nil},
		"new, after deletion":               {added, storekit.GitHubState{GrantSpent: true}, true, nil},
		"new, and linked meanwhile":         {added, storekit.GitHubState{LinkedTo: "u2", RememberedFor: "u2"}, true, auth.ErrChanged},
		"new, and unlinked meanwhile":       {added, storekit.GitHubState{RememberedFor: "u2"}, true, auth.ErrGitHubNotAllowed},
		"the host's user, linked to nobody": {existing, storekit.GitHubState{}, false, nil},
		"the host's user, unlinked":         {existing, storekit.GitHubState{RememberedFor: "u1"}, false, auth.ErrGitHubNotAllowed},
		"the host's user has another":       {existing, storekit.GitHubState{UserAccount: other}, false, auth.ErrChanged},
		"the token that was read": {withToken, storekit.GitHubState{
			LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v1",
		}, true, nil},
		"another token": {withToken, storekit.GitHubState{
			LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v2",
		}, true, auth.ErrChanged},
	} {
		require.ErrorIs(t, storekit.SignInGitHub(test.write, test.state, test.hasUsers), test.want, name)
	}

	connect := auth.GitHubConnectWrite{Link: existing.Link, TokenVersion: "v1"}
	for name, test := range map[string]struct {
		state storekit.GitHubState
		want  error
	}{
		"new":                      {storekit.GitHubState{TokenVersion: "v1"}, nil},
		"unlinked by its owner":    {storekit.GitHubState{RememberedFor: "u1", TokenVersion: "v1"}, nil},
		"connected again":          {storekit.GitHubState{LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v1"}, nil},
		"another user's":           {storekit.GitHubState{LinkedTo: "u2", RememberedFor: "u2", TokenVersion: "v1"}, auth.ErrExists},
		"remembered for another":   {storekit.GitHubState{RememberedFor: "u2", TokenVersion: "v1"}, auth.ErrExists},
		"the user has another one": {storekit.GitHubState{UserAccount: other, TokenVersion: "v1"}, auth.ErrExists},
		"another token":            {storekit.GitHubState{TokenVersion: "v2"}, auth.ErrChanged},
	} {
		require.ErrorIs(t, storekit.ConnectGitHub(connect, test.state), test.want, name)
	}
}

func TestOnlyARotationByTheKeysOwnSessionMeetsMustRotate(t *testing.T) {
	t.Parallel()
	key := auth.AccessKey{ID: "k1", UserID: "u1", MustRotate: true}
	by := auth.Authority{SessionID: "s1", UserID: "u1"}
	for name, test := range map[string]struct {
		openedBy string
		scopes   *auth.ScopeSet
		want     error
	}{
		"its session":                       {"k1", auth.NewScopes(auth.ScopeRotate), nil},
		"its session, without a limit":      {"k1", nil, auth.ErrInsufficientScope},
		"its session, with more scopes":     {"k1", auth.NewScopes(auth.ScopeRotate, "a"), auth.ErrInsufficientScope},
		"the session of another key":        {"k2", auth.NewScopes(auth.ScopeRotate), auth.ErrInsufficientScope},
		"a session that no key opened":      {"", nil, auth.ErrInsufficientScope},
		"a session with the scope for keys": {"k2", auth.NewScopes(auth.ScopeKeys), auth.ErrInsufficientScope},
	} {
		session := auth.Session{ID: "s1", UserID: "u1", AccessKeyID: test.openedBy, Scopes: test.scopes}
		acting := storekit.Acting{By: by, Session: session}
		require.ErrorIs(t, acting.CheckRotation(auth.User{ID: "u1"}, key), test.want, name)
		acting.By = auth.ByHost("billing")
		require.NoError(t, acting.CheckRotation(auth.User{ID: "u1"}, key), name)
	}
}

// A store revokes the sessions of a key that gets a limit. If one is left, it is not extended.
func TestASessionIsNotExtendedIfItsKeyWasLimitedMeanwhile(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	session := auth.Session{ID: "s1", UserID: "u1", AccessKeyID: "k1", Method: auth.MethodAccessKey,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	key := auth.AccessKey{ID: "k1", UserID: "u1", Hash: "hash", CreatedAt: now}
	longer, err := storekit.ExtendSession(session, now.Add(2*time.Hour), key)
	require.NoError(t, err)
	require.Equal(t, now.Add(2*time.Hour), longer.ExpiresAt)
	key.Scopes = auth.NewScopes("a")
	same, err := storekit.ExtendSession(session, now.Add(2*time.Hour), key)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	require.Equal(t, session, same)
}
