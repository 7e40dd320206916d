package secrethash_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
)

var (
	none    = secrethash.Pepper{}
	pepper1 = secrethash.Pepper{ID: "p1", Key: bytes.Repeat([]byte("1"), 32)}
	pepper2 = secrethash.Pepper{ID: "p2", Key: bytes.Repeat([]byte("2"), 32)}
)

func newHasher(t testing.TB, peppers ...secrethash.Pepper) *secrethash.Hasher {
	t.Helper()
	h, err := secrethash.New(peppers)
	require.NoError(t, err)
	return h
}

// framed returns the text that is hashed: the parts, each after its length.
func framed(parts ...string) []byte {
	var text []byte
	for _, part := range parts {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return text
}

// Stores contain hashes in these forms. If a new version spelled them otherwise, nobody could sign
// in.
func TestFastFormsAreTheDocumentedDigests(t *testing.T) {
	t.Parallel()
	text := framed("sallyport access secret v1", "u1", "key", "secret")
	digest := sha256.Sum256(text)
	require.Equal(t, "$sha256$v=1$"+base64.RawURLEncoding.EncodeToString(digest[:]),
		newHasher(t).Fast.Hash("u1", "key", "secret"))
	mac := hmac.New(sha256.New, pepper1.Key)
	mac.Write(text)
	require.Equal(t, "$hmac-sha256$v=1$k=p1$"+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		newHasher(t, pepper1).Fast.Hash("u1", "key", "secret"))
}

func TestTheFramesOfABoundHashCannotBeShifted(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	require.NotEqual(t, h.Fast.Hash("u1", "2", "3"), h.Fast.Hash("u", "12", "3"))
	require.NotEqual(t, h.Fast.Hash("u", "12", "3"), h.Fast.Hash("u", "1", "23"))
	require.Equal(t, h.Fast.Hash("u", "1", "23"), h.Fast.Hash("u", "1", "23"))
}

func TestAHashMatchesItsOwnUserKeyAndSecretOnly(t *testing.T) {
	t.Parallel()
	fast, slow := newHasher(t).Fast, newHasher(t, pepper1).Slow
	stored, slowlyStored := fast.Hash("u1", "key", "secret"), slow.Hash("u1", "key", "secret")
	require.NotContains(t, stored, "secret")
	require.NotContains(t, slowlyStored, "secret")
	for attack, test := range map[string]struct {
		userID, accessKey, secret string
		match, tryFastOnly        bool // tryFastOnly: not with the slow scheme, to save time
	}{
		"the control":       {"u1", "key", "secret", true, false},
		"another user":      {"u2", "key", "secret", false, false},
		"another key":       {"u1", "other", "secret", false, false},
		"another secret":    {"u1", "key", "secreT", false, false},
		"no secret":         {"u1", "key", "", false, true},
		"the stored form":   {"u1", "key", stored, false, true},
		"a shifted frame":   {"u1k", "ey", "secret", false, true},
		"a longer secret":   {"u1", "key", "secret ", false, true},
		"a secret with NUL": {"u1", "key", "secret\x00", false, true},
	} {
		match, stale := fast.Match(stored, test.userID, test.accessKey, test.secret)
		require.Equal(t, test.match, match, attack)
		require.False(t, stale, attack)
		if !test.tryFastOnly {
			match, stale = slow.Match(slowlyStored, test.userID, test.accessKey, test.secret)
			require.Equal(t, test.match, match, attack)
			require.False(t, stale, attack)
		}
	}
}

func TestPeppersAreARing(t *testing.T) {
	t.Parallel()
	otherKey := secrethash.Pepper{ID: "p1", Key: bytes.Repeat([]byte("x"), 32)}
	otherID := secrethash.Pepper{ID: "p9", Key: pepper1.Key}
	for name, test := range map[string]struct {
		made         secrethash.Pepper
		checks       []secrethash.Pepper
		match, stale bool
	}{
		"the same":                    {pepper1, []secrethash.Pepper{pepper1}, true, false},
		"an empty ring":               {none, nil, true, false},
		"behind another":              {pepper1, []secrethash.Pepper{pepper2, pepper1}, true, true},
		"behind none":                 {pepper1, []secrethash.Pepper{none, pepper1}, true, true},
		"before another":              {pepper1, []secrethash.Pepper{pepper1, pepper2}, true, false},
		"none, which is accepted":     {none, []secrethash.Pepper{pepper1, none}, true, true},
		"none, which is not accepted": {none, []secrethash.Pepper{pepper1}, false, true},
		"an unknown one":              {pepper1, []secrethash.Pepper{pepper2}, false, true},
		"one where none is known":     {pepper1, nil, false, true},
		"the ID of another key":       {otherKey, []secrethash.Pepper{pepper1}, false, false},
		"the key under another ID":    {otherID, []secrethash.Pepper{pepper1}, false, true},
	} {
		stored := newHasher(t, test.made).Fast.Hash("u1", "key", "secret")
		match, stale := newHasher(t, test.checks...).Fast.Match(stored, "u1", "key", "secret")
		require.Equal(t, test.match, match, name)
		require.Equal(t, test.stale, stale, name)
	}
}

func TestUnpepperedSaysWhetherNoneIsInTheRing(t *testing.T) {
	t.Parallel()
	require.True(t, newHasher(t).Unpeppered())
	require.True(t, newHasher(t, pepper1, none).Unpeppered())
	require.False(t, newHasher(t, pepper1, pepper2).Unpeppered())
}

func TestTwoPeppersOfOneIDAreRefused(t *testing.T) {
	t.Parallel()
	for want, ring := range map[string][]secrethash.Pepper{
		`auth: Peppers[2] has the id "p1" of an earlier pepper: give each its own`: {pepper1, pepper2, pepper1},
		`auth: Peppers[1] has the id "" of an earlier pepper: give each its own`:   {none, none},
	} {
		_, err := secrethash.New(ring)
		require.EqualError(t, err, want)
	}
}

func TestADecoyLooksLikeANewHashAndMatchesNothing(t *testing.T) {
	t.Parallel()
	for _, peppers := range [][]secrethash.Pepper{nil, {pepper1}} {
		h := newHasher(t, peppers...)
		for _, scheme := range []secrethash.Scheme{h.Fast, h.Slow} {
			stored := scheme.Hash("u1", "key", "secret")
			require.Len(t, scheme.Decoy, len(stored))
			decoy, err := secrethash.Parse(scheme.Decoy)
			require.NoError(t, err)
			real, err := secrethash.Parse(stored)
			require.NoError(t, err)
			require.Equal(t, real.Kind, decoy.Kind)
			require.Equal(t, real.Pepper, decoy.Pepper)
			require.Equal(t, real.Argon2.Memory, decoy.Argon2.Memory)
			require.Equal(t, real.Argon2.Time, decoy.Argon2.Time)
			match, _ := scheme.Match(scheme.Decoy, "u1", "key", "secret")
			require.False(t, match)
		}
	}
	require.NotEqual(t, newHasher(t).Fast.Decoy, newHasher(t).Fast.Decoy)
}

// If Match computed no digest, it would allocate less than with a digest.
func TestAFastMatchCostsOneDigestWhateverIsStored(t *testing.T) {
	// Not parallel: it counts what the whole process allocates.
	h := newHasher(t, pepper1)
	cost := func(stored string) float64 {
		return testing.AllocsPerRun(200, func() { h.Fast.Match(stored, "u1", "key", "secret") })
	}
	wrong := cost(h.Fast.Hash("u1", "key", "another secret"))
	digest := testing.AllocsPerRun(200, func() {
		mac := hmac.New(sha256.New, pepper1.Key)
		mac.Sum(nil)
	})
	for name, stored := range map[string]string{
		"the decoy":         h.Fast.Decoy,
		"an unknown pepper": "$hmac-sha256$v=1$k=p9$" + strings.Repeat("A", 43),
		"no pepper":         "$sha256$v=1$" + strings.Repeat("A", 43),
		"an unreadable row": "unreadable",
		"nothing":           "",
		"a slow form":       h.Slow.Decoy,
	} {
		require.Greater(t, cost(stored), wrong-digest, "%s: %v allocations, a wrong secret %v", name,
			cost(stored), wrong)
	}
}

func TestAFastMatchAcceptsNoSlowFormAndASlowMatchNoFastOne(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	match, _ := h.Fast.Match(h.Slow.Hash("u1", "key", "secret"), "u1", "key", "secret")
	require.False(t, match)
	match, stale := h.Slow.Match(h.Fast.Hash("u1", "key", "secret"), "u1", "key", "secret")
	require.False(t, match)
	require.False(t, stale)
	digest := sha256.Sum256(framed("sallyport access secret v1", "u1", "key", "secret"))
	match, _ = h.Fast.Match(secrethash.ImportedSHA256(digest), "u1", "key", "secret")
	require.False(t, match, "an imported digest is none of ours")
}

// FuzzStoredHash passes any text to the parser of stored forms. The parser must not panic. It must
// not accept a form that costs too much or too little to compute.
func FuzzStoredHash(f *testing.F) {
	h := newHasher(f, pepper1, none)
	f.Add(h.Fast.Hash("u", "k", "s"))
	f.Add("$sha256$v=1$" + strings.Repeat("A", 43))
	f.Add("$argon2id$v=19$m=8192,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("$argon2id-bound$v=19$m=8192,t=1,p=1,k=p1$MDEyMzQ1Njc$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=255$$")
	f.Add("$2b$10$" + strings.Repeat("a", 53))
	f.Add("$2b$31$" + strings.Repeat("a", 53))
	f.Add("$2")
	f.Add("")
	f.Fuzz(func(t *testing.T, stored string) {
		start := time.Now()
		match, _ := h.Fast.Match(stored, "user", "key", rand.Text())
		require.False(t, match)
		require.Less(t, time.Since(start), 5*time.Second, "the fast path computes no slow hash")
		form, err := secrethash.Parse(stored)
		if err != nil {
			require.Equal(t, secrethash.ErrForm, err)
			return
		}
		switch form.Kind {
		case secrethash.KindSHA256, secrethash.KindHMAC, secrethash.KindImportedSHA256:
			require.Len(t, form.Digest, sha256.Size)
		case secrethash.KindBcrypt:
			require.Len(t, stored, 60)
			require.Contains(t, []string{"10", "11", "12", "13"}, stored[4:6])
		case secrethash.KindArgon2, secrethash.KindArgon2Bound:
			a := form.Argon2
			require.True(t, a.Memory >= 8192 && a.Memory <= 65536 && a.Time >= 1 && a.Time <= 4 &&
				a.Threads >= 1 && a.Threads <= 4, stored)
			require.True(t, len(a.Salt) >= 8 && len(a.Salt) <= 64 && len(a.Hash) >= 16 && len(a.Hash) <= 64,
				stored)
		default:
			t.Fatalf("%q is of kind %q", stored, form.Kind)
		}
	})
}

func TestAFormNamesThePepperThatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHasher(t, pepper2)
	for name, test := range map[string]struct {
		stored  string
		id      string
		missing bool
	}{
		"fast, of another pepper": {newHasher(t, pepper1).Fast.Hash("u1", "key", "secret"), "p1", true},
		"slow, of another pepper": {newHasher(t, pepper1).Slow.Hash("u1", "key", "secret"), "p1", true},
		"fast, without a pepper":  {newHasher(t).Fast.Hash("u1", "key", "secret"), "", true},
		"imported":                {bcrypted, "", true},
		"of its own pepper":       {h.Fast.Hash("u1", "key", "secret"), "p2", false},
		"unreadable":              {"unreadable", "", false},
		"nothing":                 {"", "", false},
	} {
		id, missing := h.MissingPepper(test.stored)
		require.Equal(t, test.missing, missing, name)
		require.Equal(t, test.id, id, name)
	}
	_, missing := newHasher(t).MissingPepper(bcrypted)
	require.False(t, missing, "without peppers, no hash needs one")
}
