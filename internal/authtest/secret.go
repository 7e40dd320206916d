package authtest

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/sallyport-go/auth"
)

// WrongSecret returns a secret for the access key, with the default prefixes, that the key does not
// know: it embeds the key's ID, and its checksum is right.
func WrongSecret(accessKey string) auth.Secret {
	id := strings.TrimPrefix(accessKey, "ak_live_")[:20]
	body := "as_live_" + id + (rand.Text() + rand.Text())[:43]
	return auth.NewSecret(body + checksumOf(body))
}

// checksumOf is the CRC-32 of the text as six digits to the base of 62.
func checksumOf(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	sum := crc32.ChecksumIEEE([]byte(text))
	for _, power := range []uint32{62 * 62 * 62 * 62 * 62, 62 * 62 * 62 * 62, 62 * 62 * 62, 62 * 62, 62, 1} {
		b.WriteByte(digits[sum/power%62])
	}
	return b.String()
}
