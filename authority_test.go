package auth_test

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
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
		err := s.by.Check(s.now, s.session, s.user, s.below)
		if test.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, test.want, name)
		}
	}
}

func TestAnAuthorityIsOfTheHostOrOfASession(t *testing.T) {
	t.Parallel()
	for _, valid := range []auth.Authority{
		auth.ByHost("billing"), {SessionID: "s", UserID: "u"}, {SessionID: "s", UserID: "u", SuperUser: true, MaxAge: 1},
		auth.Identity{UserID: "u", SessionID: "s"}.Authority(),
	} {
		require.NoError(t, valid.Validate(), valid)
	}
	for _, invalid := range []auth.Authority{
		{}, auth.ByHost(""), auth.ByHost("a\x00"), {SessionID: "s"}, {UserID: "u"}, {Host: "h", UserID: "u"}, {Host: "h", SuperUser: true},
		{Host: "h", MaxAge: 1}, {SessionID: "s", UserID: "u", MaxAge: -1}, {SuperUser: true},
	} {
		require.ErrorIs(t, invalid.Validate(), auth.ErrInvalid, invalid)
	}
	by := auth.Authority{SessionID: "s", UserID: "u"}
	require.NoError(t, by.CheckOwner("u"))
	require.ErrorIs(t, by.CheckOwner("u2"), auth.ErrNotFound)
	require.ErrorContains(t, by.CheckOwner("u2"), "Authority.SuperUser must be set")
	require.ErrorIs(t, by.CheckOwner(""), auth.ErrNotFound)
	by.SuperUser = true
	require.NoError(t, by.CheckOwner("u2"))
	require.NoError(t, auth.ByHost("h").CheckOwner("u2"))
}

func TestAFoldKeepsTheNewestHalf(t *testing.T) {
	t.Parallel()
	named := make([]auth.Revocation, auth.MaxNamedRevocations+1)
	for i := range named {
		generation := int64(len(named) - i)
		named[i] = auth.Revocation{UserID: "u1", SessionID: "s", Generation: generation,
			ExpiresAt: time.Unix(generation, 0)}
	}
	_, ok := auth.FoldRevocations(named[1:])
	require.False(t, ok)
	folded, ok := auth.FoldRevocations(named)
	require.True(t, ok)
	kept := 0
	for _, e := range named {
		if e.Generation >= folded.Generation {
			kept++
		}
	}
	require.Equal(t, auth.MaxNamedRevocations/2, kept)
	require.Equal(t, auth.Revocation{UserID: "u1", Generation: folded.Generation,
		ExpiresAt: time.Unix(auth.MaxNamedRevocations+1, 0)}, folded, "the last of all entries, also of kept ones")

	for i := range named { // all have the same Generation, so none is newer
		named[i].Generation = 5
	}
	folded, ok = auth.FoldRevocations(named)
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
		state    auth.GitHubAccountState
		hasUsers bool
		want     error
	}{
		"linked":                            {existing, auth.GitHubAccountState{LinkedTo: "u1", RememberedFor: "u1", UserAccount: account}, true, nil},
		"linked to another":                 {existing, auth.GitHubAccountState{LinkedTo: "u2", RememberedFor: "u2"}, true, auth.ErrChanged},
		"linked to nobody":                  {existing, auth.GitHubAccountState{}, true, auth.ErrChanged},
		"unlinked":                          {existing, auth.GitHubAccountState{RememberedFor: "u1"}, true, auth.ErrGitHubNotAllowed},
		"new":                               {added, auth.GitHubAccountState{}, true, nil},
		"new, after deletion":               {added, auth.GitHubAccountState{GrantSpent: true}, true, nil},
		"new, and linked meanwhile":         {added, auth.GitHubAccountState{LinkedTo: "u2", RememberedFor: "u2"}, true, auth.ErrChanged},
		"new, and unlinked meanwhile":       {added, auth.GitHubAccountState{RememberedFor: "u2"}, true, auth.ErrGitHubNotAllowed},
		"the host's user, linked to nobody": {existing, auth.GitHubAccountState{}, false, nil},
		"the host's user, unlinked":         {existing, auth.GitHubAccountState{RememberedFor: "u1"}, false, auth.ErrGitHubNotAllowed},
		"the host's user has another":       {existing, auth.GitHubAccountState{UserAccount: other}, false, auth.ErrChanged},
		"the token that was read": {withToken, auth.GitHubAccountState{
			LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v1",
		}, true, nil},
		"another token": {withToken, auth.GitHubAccountState{
			LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v2",
		}, true, auth.ErrChanged},
	} {
		require.ErrorIs(t, test.write.Check(test.state, test.hasUsers), test.want, name)
	}

	connect := auth.GitHubConnectWrite{Link: existing.Link, TokenVersion: "v1"}
	for name, test := range map[string]struct {
		state auth.GitHubAccountState
		want  error
	}{
		"new":                      {auth.GitHubAccountState{TokenVersion: "v1"}, nil},
		"unlinked by its owner":    {auth.GitHubAccountState{RememberedFor: "u1", TokenVersion: "v1"}, nil},
		"connected again":          {auth.GitHubAccountState{LinkedTo: "u1", RememberedFor: "u1", UserAccount: account, TokenVersion: "v1"}, nil},
		"another user's":           {auth.GitHubAccountState{LinkedTo: "u2", RememberedFor: "u2", TokenVersion: "v1"}, auth.ErrExists},
		"remembered for another":   {auth.GitHubAccountState{RememberedFor: "u2", TokenVersion: "v1"}, auth.ErrExists},
		"the user has another one": {auth.GitHubAccountState{UserAccount: other, TokenVersion: "v1"}, auth.ErrExists},
		"another token":            {auth.GitHubAccountState{TokenVersion: "v2"}, auth.ErrChanged},
	} {
		require.ErrorIs(t, connect.Check(test.state), test.want, name)
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
		require.ErrorIs(t, by.CheckRotation(session, auth.User{ID: "u1"}, key), test.want, name)
		require.NoError(t, auth.ByHost("billing").CheckRotation(session, auth.User{ID: "u1"}, key), name)
	}
}

// A store revokes the sessions of a key that gets a limit. If one is left, it is not extended.
func TestASessionIsNotExtendedIfItsKeyWasLimitedMeanwhile(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	session := auth.Session{ID: "s1", UserID: "u1", AccessKeyID: "k1", Method: auth.MethodAccessKey,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	key := auth.AccessKey{ID: "k1", UserID: "u1", Hash: "hash", CreatedAt: now}
	longer, err := session.ExtendedTo(now.Add(2*time.Hour), key)
	require.NoError(t, err)
	require.Equal(t, now.Add(2*time.Hour), longer.ExpiresAt)
	key.Scopes = auth.NewScopes("a")
	same, err := session.ExtendedTo(now.Add(2*time.Hour), key)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	require.Equal(t, session, same)
}
