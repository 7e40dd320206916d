package feedpage_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

const issuer = "https://api.example.com"

// newKey returns a key, and a ring that has it.
func newKey(t testing.TB) (*signing.Key, *signing.Ring) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := signing.NewEdDSAKey("", private)
	require.NoError(t, err)
	ring, err := signing.NewRing([]*signing.Key{key})
	require.NoError(t, err)
	return key, ring
}

// newPage returns a page with an entry of each kind.
func newPage() feedpage.Page {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	user, session := feedpage.Hash(issuer, "u", "s")
	return feedpage.Page{
		Issuer: issuer, Nonce: "0123456789abcdef", From: 1, End: 4, Head: 9,
		SignedAt: at.Local(), AsOf: at.Add(-time.Second).Local(),
		Entries: []revocation.Entry{
			{Position: 1, ID: "a", UserID: user, SessionID: session, Generation: 1, ExpiresAt: at.Truncate(time.Second)},
			{Position: 2, ID: "b", UserID: user, Generation: 2, ExpiresAt: at.Truncate(time.Second)},
			{Position: 3, ID: `"<&>"`, Generation: 3, ExpiresAt: at.Truncate(time.Second)},
			{Position: 4, ID: "d", UserID: user, SessionID: session}, // replaced
		},
	}
}

func TestAPageIsReadAsItWasSigned(t *testing.T) {
	t.Parallel()
	key, ring := newKey(t)
	page := newPage()
	text, err := page.Sign(t.Context(), key)
	require.NoError(t, err)
	read, err := feedpage.Open(ring, text, time.Time{})
	require.NoError(t, err)
	require.Equal(t, page, read)

	empty := feedpage.Page{Issuer: issuer, Nonce: page.Nonce, SignedAt: page.SignedAt, AsOf: page.AsOf,
		Entries: []revocation.Entry{}}
	text, err = empty.Sign(t.Context(), key)
	require.NoError(t, err)
	read, err = feedpage.Open(ring, text, time.Time{})
	require.NoError(t, err)
	require.Equal(t, empty, read)
}

// An entry must not expire earlier at a verifier than in the store.
func TestTheExpiryOfAnEntryIsRoundedUp(t *testing.T) {
	t.Parallel()
	key, ring := newKey(t)
	page := newPage()
	second := page.Entries[0].ExpiresAt
	page.Entries[0].ExpiresAt = second.Add(time.Microsecond)
	text, err := page.Sign(t.Context(), key)
	require.NoError(t, err)
	read, err := feedpage.Open(ring, text, time.Time{})
	require.NoError(t, err)
	require.Equal(t, second.Add(time.Second), read.Entries[0].ExpiresAt)
}

// Attack: somebody has stolen a retired key, and signs a page with a time from before the retirement.
func TestAPageOfARetiredKeyIsRefused(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	current, _ := newKey(t)
	page := newPage()
	text, err := page.Sign(t.Context(), key)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		retired, asked time.Duration // after the page was signed
		want           bool
	}{
		"retired later":                            {time.Hour, 0, true},
		"retired in the second of the page":        {0, 0, true},
		"retired before":                           {-time.Second, -time.Hour, false},
		"an old time, asked after the retirement":  {time.Hour, time.Hour + time.Second, false},
		"an old time, asked in the second of it":   {time.Hour, time.Hour, true},
		"an old time, asked before the retirement": {time.Hour, time.Hour - time.Second, true},
	} {
		ring, err := signing.NewRing([]*signing.Key{current, key.RetiredAt(page.SignedAt.Add(c.retired))})
		require.NoError(t, err)
		_, err = feedpage.Open(ring, text, page.SignedAt.Add(c.asked))
		if c.want {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, "after its key was retired", name)
		require.NotErrorIs(t, err, token.ErrRejected, name)
	}
}

// No error of a page is an error that rejects a token, or the requests of callers would be answered with
// 401 because of a bad page.
func TestTheErrorsOfAPageRejectNoToken(t *testing.T) {
	t.Parallel()
	key, ring := newKey(t)
	_, otherRing := newKey(t)
	page := newPage()
	text, err := page.Sign(t.Context(), key)
	require.NoError(t, err)
	for _, bad := range []string{"", "a.b.c", text[1:], text[:len(text)-1],
		strings.Repeat("A", feedpage.MaxLength+1)} {
		_, err := feedpage.Open(ring, bad, time.Time{})
		require.Error(t, err)
		require.NotErrorIs(t, err, token.ErrRejected)
	}
	_, err = feedpage.Open(otherRing, text, time.Time{})
	require.ErrorIs(t, err, token.ErrUnknownKey)
}

// Another reader of pages computes the same hashes, so they must not change.
func TestHashesAreFixed(t *testing.T) {
	t.Parallel()
	user, session := feedpage.Hash(issuer, "u1", "u1")
	require.Len(t, user, 22)
	require.Len(t, session, 22)
	require.NotEqual(t, user, session, "a user and a session with one ID")
	other, _ := feedpage.Hash(issuer+"/", "u1", "")
	require.NotEqual(t, user, other, "another issuer")
	user, session = feedpage.Hash(issuer, "", "")
	require.Empty(t, user+session)
	user, session = feedpage.Hash(issuer, "u1", "s1")
	require.Equal(t, [2]string{"lLG1X73BJAXN_F3oguyaVQ", "5VrJH-ClJT7JQ-WcOcaQaw"}, [2]string{user, session})
}

func TestAPageIsUnchangedIfItHasNothingNew(t *testing.T) {
	t.Parallel()
	entry := func(position int64) []revocation.Entry { return []revocation.Entry{{Position: position}} }
	for name, c := range map[string]struct {
		page feedpage.Page
		want bool
	}{
		"an empty feed":            {feedpage.Page{}, true},
		"the entry at from":        {feedpage.Page{From: 3, End: 3, Head: 3, Entries: entry(3)}, true},
		"another entry":            {feedpage.Page{From: 3, End: 4, Head: 4, Entries: entry(4)}, false},
		"more entries":             {feedpage.Page{From: 3, End: 3, Head: 4, Entries: entry(3)}, false},
		"two entries":              {feedpage.Page{From: 3, End: 4, Head: 4, Entries: append(entry(3), entry(4)...)}, false},
		"a feed that ends before":  {feedpage.Page{From: 3, End: 2, Head: 2}, false},
		"a feed that is now empty": {feedpage.Page{From: 3}, false},
	} {
		require.Equal(t, c.want, c.page.IsUnchanged(), name)
	}
}

func TestANonceHasItsForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		strings.Repeat("a", 15): false, strings.Repeat("a", 16): true, strings.Repeat("_", 64): true,
		strings.Repeat("a", 65): false, strings.Repeat("a", 15) + "=": false, strings.Repeat("a", 15) + "\n": false,
	} {
		require.Equal(t, want, feedpage.IsNonce(text), text)
	}
}

// Each of these pages is signed by the issuer, but differs from the form that Sign writes.
func TestAPageOfAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	key, ring := newKey(t)
	page := newPage()
	text, err := page.Sign(t.Context(), key)
	require.NoError(t, err)
	claims, _, err := token.OpenText(ring, feedpage.Type, text, feedpage.MaxLength)
	require.NoError(t, err)
	session := page.Entries[0].SessionID
	for _, edit := range [][2]string{
		{`"from":1`, `"from":-1`}, {`"from":1`, `"from":"1"`}, {`"end":4`, `"end":-4`}, {`"head":9`, `"head":-9`},
		{`"head":9`, `"head":9.0`}, {`"head":9`, `"head":9e0`}, {`"head":9`, `"head":null`},
		{`"signed_at":1`, `"signed_at":-1`}, {`"as_of":1`, `"as_of":-1`},
		{`"iss":"https://api.example.com"`, `"iss":1`}, {`"nonce":"0123456789abcdef"`, `"nonce":[]`},
		{`"position":1`, `"position":0`}, {`"position":1`, `"position":-1`}, {`"id":"a"`, `"id":""`},
		{`"id":"a"`, `"id":1`}, {`"generation":1`, `"generation":-1`}, {`"generation":1`, `"generation":"1"`},
		{`"expires_at":1`, `"expires_at":-1`}, {`"expires_at":1`, `"expires_at":""`},
		{session, session[1:]}, {session, session + "A"}, {session, session[1:] + "!"},
		{`"session":"`, `"user":"`}, {`"user":"`, `"session":"`}, {`"user":"`, `"USER":"`},
		{`"user":"`, `"other":"`}, {`"entries":[{`, `"entries":[1,{`}, {`"entries":[{`, `"entries":[[],{`},
		{`"entries":[`, `"entries":{"a":[`}, {`{"iss"`, `[{"iss"`}, {`"head"`, `"end"`}, {`"from":1,`, ``},
	} {
		require.Contains(t, string(claims), edit[0])
		changed := strings.Replace(string(claims), edit[0], edit[1], 1)
		text, err := token.SignText(t.Context(), key, feedpage.Type, []byte(changed))
		require.NoError(t, err)
		_, err = feedpage.Open(ring, text, time.Time{})
		require.Error(t, err, edit)
	}
	page.Entries[0].ID = strings.Repeat("a", feedpage.MaxLength)
	text, err = page.Sign(t.Context(), key)
	require.NoError(t, err)
	_, err = feedpage.Open(ring, text, time.Time{})
	require.Error(t, err, "too long")
	page = newPage()
	for _, entries := range []int{feedpage.MaxEntries, feedpage.MaxEntries + 1} {
		page.Entries = slices.Repeat(page.Entries[:1], entries)
		text, err := page.Sign(t.Context(), key)
		require.NoError(t, err)
		_, err = feedpage.Open(ring, text, time.Time{})
		require.Equal(t, entries > feedpage.MaxEntries, err != nil, entries)
	}
}

// FuzzOpen checks that every text that Open accepts is a page in the only spelling of its values.
func FuzzOpen(f *testing.F) {
	key, ring := newKey(f)
	page := newPage()
	text, err := page.Sign(f.Context(), key)
	require.NoError(f, err)
	f.Add(`{"iss":"x"}`)
	payload, _, err := token.OpenText(ring, feedpage.Type, text, feedpage.MaxLength)
	require.NoError(f, err)
	f.Add(string(payload))
	f.Fuzz(func(t *testing.T, claims string) {
		text, err := token.SignText(t.Context(), key, feedpage.Type, []byte(claims))
		require.NoError(t, err)
		page, err := feedpage.Open(ring, text, time.Time{})
		if err != nil {
			require.NotErrorIs(t, err, token.ErrRejected)
			return
		}
		again, err := page.Sign(t.Context(), key)
		require.NoError(t, err)
		same, err := feedpage.Open(ring, again, time.Time{})
		require.NoError(t, err)
		require.Equal(t, page, same)
	})
}
