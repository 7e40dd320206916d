package githubtest

import (
	"crypto/rand"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// The prefixes of GitHub's tokens, and the number of random characters that follow.
const (
	accessPrefix, accessLength   = "gho_", 30
	appAccessPrefix              = "ghu_" // of a GitHub App
	refreshPrefix, refreshLength = "ghr_", 70
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newSecret returns a token in GitHub's format: the prefix, random characters, and six characters
// with the CRC-32 of the random characters. The CRC-32 lets a scanner recognize a token.
func newSecret(prefix string, length int) string {
	random := make([]byte, 0, length)
	for len(random) < length {
		var b [1]byte
		_, _ = rand.Read(b[:])                   // it never fails
		if limit := byte(4 * 62); b[0] < limit { // makes all characters equally frequent
			random = append(random, base62[b[0]%62])
		}
	}
	return prefix + string(random) + checksum(random)
}

func checksum(random []byte) string {
	sum := crc32.ChecksumIEEE(random)
	digits := [6]byte{}
	for i := range digits {
		digits[len(digits)-1-i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// randomHex returns n random bytes in hexadecimal. GitHub's codes, client secrets and request IDs
// have this format.
func randomHex(n int) string {
	random := make([]byte, n)
	_, _ = rand.Read(random)
	return hex.EncodeToString(random)
}

// requestID returns an ID in the format of the request IDs that GitHub sends in its responses.
func requestID() string {
	digits := strings.ToUpper(randomHex(16))
	return strings.Join([]string{digits[:4], digits[4:10], digits[10:17], digits[17:24],
		digits[24:]}, ":")
}
