package wiretest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

func TestKeyInfoShowsThatOneSecretHasTwoPurposes(t *testing.T) {
	t.Parallel()
	secret, other := authtest.Random(32), authtest.Random(32)
	info := func(key interface{ Info() auth.KeyInfo }, err error) auth.KeyInfo {
		require.NoError(t, err)
		return key.Info()
	}
	signing := info(auth.NewHS256Key("sign", secret))
	pepper := info(auth.NewSymmetricKey("pepper", secret))
	require.Equal(t, "sign", signing.ID)
	require.Equal(t, "HS256", signing.Algorithm)
	require.Equal(t, auth.KeyInfo{ID: "pepper", Fingerprint: signing.Fingerprint}, pepper)
	require.NotEqual(t, signing.Fingerprint, info(auth.NewHS256Key("sign", other)).Fingerprint)
	require.NotContains(t, fmt.Sprintf("%+v", pepper), string(secret))

	seen := map[string]bool{}
	for name, signer := range authtest.NewSigners(t) {
		info := signer.Key.Info()
		require.Equal(t, name, info.Algorithm)
		require.Zero(t, info.RetiredAt)
		require.Len(t, info.Fingerprint, 22)
		require.False(t, seen[info.Fingerprint])
		seen[info.Fingerprint] = true
		at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		retired := signer.Key.RetiredAt(at).Info()
		require.Equal(t, at.Truncate(time.Second), retired.RetiredAt)
		require.Equal(t, info.Fingerprint, retired.Fingerprint)
	}
}

func TestKeyInfoOfNoKeyIsZero(t *testing.T) {
	t.Parallel()
	require.Zero(t, auth.SigningKey{}.Info())
	require.Zero(t, auth.SymmetricKey{}.Info())
	require.Zero(t, auth.NoPepper().Info())
}

func TestAStoredTokenNamesItsSealingKey(t *testing.T) {
	t.Parallel()
	for sealed, id := range map[string]string{
		"": "", "\x02": "", "\x02\x03ab": "", "\x03\x01a": "", "\x02\x01a": "a", "\x01\x02abrest": "ab",
	} {
		require.Equal(t, id, auth.GitHubToken{Sealed: []byte(sealed)}.SealingKeyID())
	}
}
