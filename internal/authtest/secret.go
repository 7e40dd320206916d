package authtest

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/sallyport-go/auth"
)

// WrongSecret returns a wrong secret that looks like the secret of the access key. It has the
// default prefix, embeds the ID of the key, and has a valid checksum.
func WrongSecret(accessKey string) auth.Secret {
	id := strings.TrimPrefix(accessKey, "ak_live_")[:20]
	body := "as_live_" + id + (rand.Text() + rand.Text())[:43]
	return auth.NewSecret(body + checksumOf(body))
}

// checksumOf returns the CRC-32 of the text as six base-62 digits.
func checksumOf(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	sum := crc32.ChecksumIEEE([]byte(text))
	for _, power := range []uint32{62 * 62 * 62 * 62 * 62, 62 * 62 * 62 * 62, 62 * 62 * 62, 62 * 62,
		62, 1} {
		b.WriteByte(digits[sum/power%62])
	}
	return b.String()
}
