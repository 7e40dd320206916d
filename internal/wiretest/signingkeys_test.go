package wiretest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestSigningKeysOfAFileSignInItsOrder(t *testing.T) {
	t.Parallel()
	text := `{"keys":[{"kty":"oct","kid":"first","k":"` + authtest.Segment(string(authtest.Random(32))) +
		`"},` +
		`{"kty":"oct","kid":"second","k":"` + authtest.Segment(string(authtest.Random(32))) + `"}]}`
	keys, err := auth.ParseSigningKeys([]byte(text))
	require.NoError(t, err)
	require.Len(t, keys, 2)
	for i, id := range []string{"first", "second"} {
		require.Equal(t, id, keys[i].ID())
		printed, err := json.Marshal(keys[i])
		require.NoError(t, err)
		require.Equal(t, `"[redacted]"`, string(printed))
		f := newTokens(t, authtest.Signer{Key: keys[i]}, auth.TokenConfig{})
		f.requireAccepted(t, f.token.Bearer.Reveal())
	}

	keys, err = auth.ParseSigningKeys([]byte("hunter2"))
	require.EqualError(t, err, "auth: signing keys must be PEM blocks, one after the other, or JSON; "+
		"pass the content of the file, not its path")
	require.Nil(t, keys)
}

func TestTheZeroSigningKeyIsNoKey(t *testing.T) {
	t.Parallel()
	require.Empty(t, auth.SigningKey{}.ID())
	require.Empty(t, auth.SigningKey{}.RetiredAt(time.Now()).ID())
	key, err := auth.NewHS256Key("id", nil)
	require.EqualError(t, err, `auth: HS256 key "id" is 0 bytes; at least 32 are needed: `+
		`make one with "openssl rand -base64 32"`)
	require.Empty(t, key.ID())
}
