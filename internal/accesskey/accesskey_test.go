package accesskey_test

import (
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport-go/auth/internal/accesskey"
	"github.com/stretchr/testify/require"
)

func newFormat(t testing.TB, keyPrefix, secretPrefix string) accesskey.Format {
	t.Helper()
	f, err := accesskey.NewFormat(keyPrefix, secretPrefix)
	require.NoError(t, err)
	return f
}

// checksum returns the CRC-32 of the text in base 62, computed with math/big. In the digits of
// math/big, small letters come before capital letters, so checksum swaps the two.
func checksum(text string) string {
	digits := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))).Text(62)
	digits = strings.Map(func(r rune) rune {
		if unicode.IsLower(r) {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, digits)
	return strings.Repeat("0", 6-len(digits)) + digits
}

func withChecksum(text string) string { return text + checksum(text) }

const (
	id     = "0123456789ABCDEFabcd"
	random = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
)

func TestAGeneratedPairHasTheDocumentedForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ keyPrefix, secretPrefix, keyForm, secretForm string }{
		{"", "", `^ak_live_([0-9A-Za-z]{20})[0-9A-Za-z]{6}$`, `^as_live_([0-9A-Za-z]{20})[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`},
		{"k", "acme_test_secret", `^k_([0-9A-Za-z]{20})[0-9A-Za-z]{6}$`, `^acme_test_secret_([0-9A-Za-z]{20})[0-9A-Za-z]{49}$`},
	} {
		f := newFormat(t, test.keyPrefix, test.secretPrefix)
		key, secret := f.Generate()
		inKey := regexp.MustCompile(test.keyForm).FindStringSubmatch(key)
		inSecret := regexp.MustCompile(test.secretForm).FindStringSubmatch(secret)
		require.NotNil(t, inKey, key)
		require.NotNil(t, inSecret, secret)
		require.Equal(t, inKey[1], inSecret[1], "the secret embeds its key's ID")
		for _, text := range []string{key, secret} {
			require.Equal(t, text, withChecksum(text[:len(text)-6]))
		}
		require.True(t, f.IsKey(key))
		require.True(t, f.IsSecret(secret))
		require.True(t, f.IsPair(key, secret))
		require.Equal(t, key, f.KeyOf(secret))
	}
}

func TestKeysAndSecretsAreNeverTheSameTwice(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "")
	seen := map[string]bool{}
	for range 200 {
		key, secret := f.Generate()
		for _, text := range []string{key, secret, f.NewSecret(key)} {
			require.False(t, seen[text], text)
			seen[text] = true
		}
	}
}

// A random byte has 256 values, and 256 = 4*62 + 8. If its remainder by 62 selected the character,
// each of the first eight characters would occur in 5 of 256 cases, and each of the others in 4.
// 19,000 characters are enough to tell this from chance.
func TestEachCharacterIsAsLikelyAsAnyOther(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "")
	counts := map[rune]int{}
	total := 0
	for range 300 {
		_, secret := f.Generate()
		for _, c := range secret[len("as_live_") : len(secret)-6] {
			counts[c]++
			total++
		}
	}
	require.Len(t, counts, 62)
	first := 0
	for _, c := range "01234567" {
		first += counts[c]
	}
	require.InDelta(t, 8.0/62, float64(first)/float64(total), 0.013)
}

func TestARotatedSecretBelongsToTheSameKey(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "")
	key, first := f.Generate()
	second := f.NewSecret(key)
	require.NotEqual(t, first, second)
	require.True(t, f.IsPair(key, second))
	require.Equal(t, key, f.KeyOf(second))
}

func TestOnlyTheExactFormIsRecognized(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "")
	key, secret := withChecksum("ak_live_"+id), withChecksum("as_live_"+id+random)
	for name, test := range map[string]struct {
		text          string
		key, secret   bool
		resemblesOurs bool
	}{
		"a key":                       {key, true, false, true},
		"a secret":                    {secret, false, true, true},
		"nothing":                     {"", false, false, false},
		"the prefix of keys":          {"ak_live_", false, false, true},
		"the prefix of secrets":       {"as_live_x", false, false, true},
		"the prefix in capitals":      {"AK_LIVE_x", false, false, true},
		"a secret's in capitals":      {"As_Live_x", false, false, true},
		"the prefix without its end":  {"ak_live", false, false, false},
		"a K beyond ASCII":            {"a\u212a_live_x", false, false, false},
		"another prefix":              {withChecksum("ak_test_" + id), false, false, false},
		"a space in front":            {" " + key, false, false, true},
		"a line break behind":         {key + "\n", false, false, true},
		"a wrong checksum":            {"ak_live_" + id + "000000", false, false, true},
		"a checksum in capitals":      {"ak_live_" + id + strings.ToUpper(checksum("ak_live_"+id)), false, false, true},
		"no checksum":                 {"ak_live_" + id, false, false, true},
		"a character less":            {withChecksum("ak_live_" + id[1:]), false, false, true},
		"a character more":            {withChecksum("ak_live_" + id + "x"), false, false, true},
		"a character of base64":       {withChecksum("ak_live_" + id[1:] + "-"), false, false, true},
		"a character beyond ASCII":    {withChecksum("ak_live_" + id[2:] + "é"), false, false, true},
		"a secret's length as a key":  {withChecksum("ak_live_" + id + random), false, false, true},
		"a key's length as a secret":  {withChecksum("as_live_" + id), false, false, true},
		"a secret with a wrong digit": {secret[:len(secret)-7] + "0" + secret[len(secret)-6:], false, false, true},
		"a secret with a hyphen":      {withChecksum("as_live_" + id + random[1:] + "-"), false, false, true},
	} {
		require.Equal(t, test.key, f.IsKey(test.text), name)
		require.Equal(t, test.secret, f.IsSecret(test.text), name)
		require.Equal(t, test.resemblesOurs, f.Resembles(test.text), name)
	}
}

// A host may configure prefixes with capital letters.
func TestATextResemblesAKeyOrASecretInAnyLetterCaseOfThePrefixes(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "Acme_Key", "Acme_Secret")
	for _, text := range []string{
		"Acme_Key_x", "acme_key_x", "ACME_KEY_x", "Acme_Secret_x", "acme_secret_x", "ACME_SECRET_x",
	} {
		require.True(t, f.Resembles(text), text)
	}
	require.False(t, f.Resembles("Acme_Other_x"))
}

func TestASecretOfAnotherKeyIsNoPair(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "")
	key, secret := f.Generate()
	otherKey, otherSecret := f.Generate()
	foreignKey, foreignSecret := newFormat(t, "other_key", "other_secret").Generate()
	for name, pair := range map[string][2]string{
		"another key":          {otherKey, secret},
		"another secret":       {key, otherSecret},
		"swapped":              {secret, key},
		"no secret":            {key, ""},
		"no key":               {"", secret},
		"nothing":              {"", ""},
		"a foreign key":        {foreignKey, secret},
		"a foreign secret":     {key, foreignSecret},
		"a pair of elsewhere":  {foreignKey, foreignSecret},
		"a key with a bad sum": {key[:len(key)-1] + "-", secret},
	} {
		require.False(t, f.IsPair(pair[0], pair[1]), name)
	}
	require.True(t, f.IsPair(key, secret), "the control")
}

func TestPrefixesAreChecked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ keyPrefix, secretPrefix, wrong string }{
		"the defaults":              {"", "", ""},
		"the longest":               {strings.Repeat("x", 32), strings.Repeat("y", 32), ""},
		"capitals and digits":       {"A1__b", "2", ""},
		"the key's too long":        {strings.Repeat("x", 33), "", "at most 32"},
		"the secret's too long":     {"", strings.Repeat("x", 33), "at most 32"},
		"an underscore in front":    {"_a", "", "inner"},
		"an underscore at the end":  {"", "a_", "inner"},
		"an underscore alone":       {"_", "", "inner"},
		"a hyphen":                  {"a-b", "", "letters"},
		"a space":                   {"", "a b", "letters"},
		"letters beyond ASCII":      {"ключ", "", "letters"},
		"a long s":                  {"\u017f", "", "letters"},
		"invalid UTF-8":             {"a\xff", "", "letters"},
		"NUL":                       {"", "a\x00b", "letters"},
		"the same":                  {"same", "same", "must differ"},
		"the same but for the case": {"Same", "same", "must differ"},
		"the other's default":       {"as_live", "", "must differ"},
	} {
		_, err := accesskey.NewFormat(test.keyPrefix, test.secretPrefix)
		if test.wrong == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, "auth: AccessKeyPrefix and AccessSecretPrefix must ", name)
		require.ErrorContains(t, err, test.wrong, name)
	}
}

func TestTheSecretPatternFindsSecretsInText(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "", "acme")
	key, secret := f.Generate()
	pattern := regexp.MustCompile(f.SecretPattern())
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"a line of shell": {`export SECRET="` + secret + `" # prod`, []string{secret}},
		"two":             {secret + "\n" + secret, []string{secret, secret}},
		"a longer word":   {secret + "x", nil},
		"within a word":   {"x" + secret, nil},
		"the key":         {key, nil},
		"its beginning":   {secret[:len(secret)-1], nil},
	} {
		require.Equal(t, test.want, pattern.FindAllString(test.text, -1), name)
	}
}

// FuzzRecognize passes any text to the functions that recognize keys and secrets. If a text is
// recognized, its parts must lead back to the same text.
func FuzzRecognize(f *testing.F) {
	format := newFormat(f, "", "")
	key, secret := format.Generate()
	for _, seed := range []string{key, secret, "", "ak_live_", key + "=", key[1:], strings.ToUpper(secret)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		isKey, isSecret := format.IsKey(text), format.IsSecret(text)
		require.False(t, isKey && isSecret)
		if isKey || isSecret {
			require.True(t, format.Resembles(text))
			require.Equal(t, text, withChecksum(text[:len(text)-6]))
		}
		if isKey {
			require.True(t, format.IsPair(text, format.NewSecret(text)))
		}
		if isSecret {
			require.True(t, format.IsPair(format.KeyOf(text), text))
		}
	})
}
