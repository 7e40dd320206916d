package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
)

var githubValuePromises = []promise[auth.AccountStore]{
	{"a link with a value that cannot be stored is refused", invalidLink},
	{"a token with a value that cannot be stored is refused", invalidToken},
	{"an ID that cannot be stored is not found", impossibleGitHubIDs},
	{"the longest values come back unchanged", longestGitHubValues},
	{"the strangest values come back unchanged", strangestGitHubValues},
	{"values that may be empty come back empty", emptyGitHubValues},
	{"sealed bytes may have any value", anyBytesSealed},
}

var githubValuePromisesOfUsers = []promise[auth.Store]{
	{"a first sign-in with an invalid user or session does nothing", invalidSignIn},
	{"times come back in UTC, truncated to the microsecond", githubTimesKept},
}

var linkFields = []field[auth.GitHubLink]{
	{"host", limits.GitHubHost, true, func(l *auth.GitHubLink) *string { return &l.Account.Host }},
	{"user_id", limits.ID, true, func(l *auth.GitHubLink) *string { return &l.UserID }},
	{"login", limits.GitHubText, true, func(l *auth.GitHubLink) *string { return &l.Login }},
	{"name", limits.GitHubText, false, func(l *auth.GitHubLink) *string { return &l.Name }},
	{"avatar_url", limits.GitHubText, false, func(l *auth.GitHubLink) *string { return &l.AvatarURL }},
}

var tokenFields = []field[auth.GitHubToken]{
	{"host", limits.GitHubHost, true, func(t *auth.GitHubToken) *string { return &t.Account.Host }},
	{"user_id", limits.ID, true, func(t *auth.GitHubToken) *string { return &t.UserID }},
	{"version", limits.ID, true, func(t *auth.GitHubToken) *string { return &t.Version }},
	{"scopes", limits.GitHubText, false, func(t *auth.GitHubToken) *string { return &t.Scopes }},
}

func invalidLink(t *testing.T, store auth.AccountStore) {
	try := func(field string, edit func(*auth.GitHubLink)) {
		t.Helper()
		requireNotKept(t, store, field, func(link *auth.GitHubLink, token *auth.GitHubToken) {
			edit(link)
			token.Account, token.UserID = link.Account, link.UserID
		})
	}
	for _, field := range linkFields {
		for _, bad := range field.badValues() {
			try(field.name, func(link *auth.GitHubLink) { *field.of(link) = bad })
		}
	}
	for _, id := range []int64{0, -1, -1 << 63} {
		try("account_id", func(link *auth.GitHubLink) { link.Account.ID = id })
	}
	for _, bad := range badRequiredTimes {
		try("created_at", func(link *auth.GitHubLink) { link.CreatedAt = bad })
		try("seen_at", func(link *auth.GitHubLink) { link.SeenAt = bad })
	}
}

func invalidToken(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	try := func(field string, edit func(*auth.GitHubToken)) {
		t.Helper()
		requireNotKept(t, store, field, func(link *auth.GitHubLink, token *auth.GitHubToken) {
			edit(token)
			link.Account, link.UserID = token.Account, token.UserID
		})
		fresh := newToken(a.link)
		edit(&fresh)
		err := store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version)
		requireInvalidField(t, err, field)
		a.requireUnchanged(t, store)
	}
	for _, field := range tokenFields {
		for _, bad := range field.badValues() {
			try(field.name, func(token *auth.GitHubToken) { *field.of(token) = bad })
		}
	}
	for _, bad := range [][]byte{nil, {}, make([]byte, limits.Sealed+1)} {
		try("token", func(token *auth.GitHubToken) { token.Sealed = bad })
	}
	try("account_id", func(token *auth.GitHubToken) { token.Account.ID = 0 })
	for _, bad := range badRequiredTimes {
		try("updated_at", func(token *auth.GitHubToken) { token.UpdatedAt = bad })
	}
}

// requireNotKept calls each method that writes a link or a token. The given function makes the
// records of each call invalid. requireNotKept fails the test unless each method rejects these
// records.
func requireNotKept(
	t *testing.T, store auth.AccountStore, field string, edit func(*auth.GitHubLink, *auth.GitHubToken),
) {
	t.Helper()
	user := newUser()
	first := asKept(store, firstSignIn(user))
	edit(&first.Link, first.Token)
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), first)
	requireInvalidField(t, err, field)
	requireNoUser(t, store, user.ID)
	requireNoLink(t, store, first.Link.Account)
	requireNoSession(t, store, first.Session.ID)

	a := newAccount(t, store)
	refused := newConnect(a.session, newGitHubAccount())
	edit(&refused.Link, &refused.Token)
	requireInvalidField(t, refused.call(t.Context(), store), field)
	requireNoConnection(t, store, a.user.ID, githubHost)
	requireNoLink(t, store, refused.Link.Account)
}

func invalidSignIn(t *testing.T, store auth.Store) {
	try := func(field string, edit func(*auth.GitHubSignInWrite)) {
		t.Helper()
		signIn := firstSignIn(newUser())
		id := signIn.NewUser.ID
		edit(&signIn)
		_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
		requireInvalidField(t, err, field)
		requireNoUser(t, store, id)
		requireNoLink(t, store, signIn.Link.Account)
		requireNoSession(t, store, signIn.Session.ID)
	}
	for _, field := range userFields {
		for _, bad := range field.badValues() {
			try(field.name, func(signIn *auth.GitHubSignInWrite) { *field.of(signIn.NewUser) = bad })
		}
	}
	for _, field := range sessionFields {
		for _, bad := range field.badValues() {
			try(field.name, func(signIn *auth.GitHubSignInWrite) { *field.of(&signIn.Session) = bad })
		}
	}
}

func impossibleGitHubIDs(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for _, tail := range []string{"\x00", "\x00tail", "\xff", "\xed\xa0\x80", "\n", "\u202e",
		fill("", "x", 10_000)} {
		for name, edit := range map[string]func(token *auth.GitHubToken){
			"user":    func(token *auth.GitHubToken) { token.UserID += tail },
			"host":    func(token *auth.GitHubToken) { token.Account.Host += tail },
			"nobody":  func(token *auth.GitHubToken) { token.UserID = tail },
			"nowhere": func(token *auth.GitHubToken) { token.Account.Host = tail },
			"no user": func(token *auth.GitHubToken) { token.UserID = "" },
			"no host": func(token *auth.GitHubToken) { token.Account.Host = "" },
		} {
			token := a.token
			edit(&token)
			requireNoGitHub(t, store, token, name)
		}
		requireNoLink(t, store, auth.GitHubAccount{Host: githubHost + tail, ID: a.link.Account.ID})
		for _, name := range []string{"lease", "delete"} {
			token := a.token
			token.Version += tail
			require.ErrorIs(t, tokenVerbs[name](t, store, token), auth.ErrNotFound)
		}
	}
	requireNoLink(t, store, auth.GitHubAccount{})
	a.requireUnchanged(t, store)
}

// requireNoGitHub fails the test if the store finds a GitHub record for the user and the host of
// the token. Each method must return ErrNotFound.
func requireNoGitHub(t *testing.T, store auth.AccountStore, token auth.GitHubToken, name string) {
	t.Helper()
	requireNoConnection(t, store, token.UserID, token.Account.Host)
	require.ErrorIs(t, deleteToken(t, store, token), auth.ErrNotFound, name)
	require.ErrorIs(t, tokenVerbs["lease"](t, store, token), auth.ErrNotFound, name)
	require.ErrorIs(t, tokenVerbs["delete"](t, store, token), auth.ErrNotFound, name)
	_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), token.UserID, token.Account.Host)
	require.ErrorIs(t, err, auth.ErrNotFound, name)
}

func longestGitHubValues(t *testing.T, store auth.AccountStore) {
	for _, what := range []string{"x", "é", "漢", "🦆", "'", `\`} {
		t.Run(what, func(t *testing.T) {
			requireGitHubRoundTrip(t, store, func(prefix string, limit int) string {
				return fill(prefix, what, limit)
			})
		})
	}
}

func strangestGitHubValues(t *testing.T, store auth.AccountStore) {
	for _, strange := range strangeTexts {
		t.Run(strange, func(t *testing.T) {
			requireGitHubRoundTrip(t, store, func(prefix string, _ int) string {
				return prefix + strange
			})
			requireGitHubRoundTrip(t, store, func(prefix string, _ int) string {
				return strange + prefix
			})
		})
	}
}

// requireGitHubRoundTrip does the same as requireRoundTrip, but for a link and a token.
func requireGitHubRoundTrip(
	t *testing.T, store auth.AccountStore, value func(prefix string, limit int) string,
) {
	t.Helper()
	user := newUser()
	for _, field := range userFields {
		*field.of(&user) = value(unique(""), field.limit)
	}
	signIn := firstSignIn(user)
	for _, field := range linkFields {
		*field.of(&signIn.Link) = value(unique(""), field.limit)
	}
	for _, field := range tokenFields {
		*field.of(signIn.Token) = value(unique(""), field.limit)
	}
	signIn.Token.Sealed = []byte(value("", limits.Sealed))
	setAccount(&signIn, signIn.Link.Account)
	setUser(&signIn, user.ID)

	a := signUp(t, store, signIn)
	a.requireUnchanged(t, store)
	requireLease(t, store, true, a.token, now)
	fresh := a.token
	fresh.Version = value(unique(""), limits.ID)
	require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version))
	a.token = fresh
	a.requireUnchanged(t, store)
	require.NoError(t, tokenVerbs["delete"](t, store, a.token))
	a.requireDisconnected(t, store)
	addKey(t, store, a.user, time.Time{})
	_, err := unlink(t, store, a)
	require.NoError(t, err)
	a.requireUnlinked(t, store)
}

func emptyGitHubValues(t *testing.T, store auth.AccountStore) {
	signIn := firstSignIn(newUser())
	signIn.Link.Name, signIn.Link.AvatarURL, signIn.Token.Scopes = "", "", ""
	signUp(t, store, signIn).requireUnchanged(t, store)
}

func anyBytesSealed(t *testing.T, store auth.AccountStore) {
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	a := newLinked(t, store)
	for _, sealed := range [][]byte{
		every, {0}, {0, 0, 0}, {0xff}, []byte("tail\x00"), []byte("tail "), []byte(`\x41`), []byte("\xed\xa0\x80"), []byte(`'"\`),
		bytes.Repeat([]byte{0}, limits.Sealed), bytes.Repeat(every, limits.Sealed/len(every)),
	} {
		fresh := newToken(a.link)
		fresh.Sealed = sealed
		require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version))
		a.token = fresh
		a.requireUnchanged(t, store)

		signIn := firstSignIn(newUser())
		signIn.Token.Sealed = sealed
		b := signUp(t, store, signIn)
		b.requireUnchanged(t, store)
		deleted, err := store.DeleteGitHubToken(t.Context(), byHost(now), b.user.ID, githubHost, "")
		require.NoError(t, err)
		require.Equal(t, b.token, deleted)
	}
}

func githubTimesKept(t *testing.T, store auth.Store) {
	for name, test := range keptTimes {
		t.Run(name, func(t *testing.T) {
			user := newUser()
			user.CreatedAt, user.LastLogin, user.AdmittedAt = test.in, test.in, test.in
			signIn := firstSignIn(user)
			signIn.Link.CreatedAt, signIn.Link.SeenAt, signIn.Token.UpdatedAt = test.in, test.in, test.in
			signIn.Session.CreatedAt, signIn.Session.ExpiresAt = test.in, test.in
			a := signUp(t, store, signIn)

			user.CreatedAt, user.LastLogin, user.AdmittedAt = test.want, test.want, test.want
			require.Equal(t, user, a.user)
			signIn.Session.CreatedAt, signIn.Session.ExpiresAt = test.want, test.want
			requireSameSession(t, signIn.Session, a.session)
			a.link.CreatedAt, a.link.SeenAt, a.token.UpdatedAt = test.want, test.want, test.want
			a.requireUnchanged(t, store)

			fresh := newToken(a.link)
			fresh.UpdatedAt = test.in
			require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version))
			a.token, a.token.UpdatedAt = fresh, test.want
			a.requireUnchanged(t, store)
		})
	}
}
