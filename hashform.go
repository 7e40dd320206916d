package auth

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"github.com/sallyport-go/auth/internal/canonical"
	"strconv"
	"strings"
)

// The stored forms of an access secret, each telling what it is, in the manner
// of the PHC string format:
//
//	$sha256$v=1$<digest>                                      generated, no pepper
//	$hmac-sha256$v=1$k=<pepper>$<digest>                      generated
//	$argon2id-bound$v=19$m=..,t=..,p=..[,k=<pepper>]$<salt>$<hash>    chosen, or imported and seen since
//	$argon2id$v=19$m=..,t=..,p=..$<salt>$<hash>               imported
//	$2a$ $2b$ $2y$ ...                                        imported: bcrypt
//	$sha256-imported$v=1$<digest>                             imported: generated elsewhere
//
// A generated secret is 256 random bits, for which a slow hash would only give
// an attacker a way to burn our processors (NIST SP 800-63B asks for one below
// 112 bits). The first three bind the user and the key, so that a row copied to
// another user opens nothing; what comes from elsewhere could not.

const (
	formSHA256     = "sha256"
	formHMAC       = "hmac-sha256"
	formArgonBound = "argon2id-bound"
	formArgon      = "argon2id"
	formBcrypt     = "bcrypt"

	formImportedSHA256 = "sha256-imported"
)

// storedHash is a stored form, taken apart.
type storedHash struct {
	form   string
	pepper string // the id of the pepper, empty if there is none
	digest []byte // of the fast forms
	argon  argonHash
	bcrypt string
}

// errHash says nothing about the hash: it may be logged.
var errHash = errors.New("auth: stored hash is not of a known form")

// parseHash takes a stored form apart, and refuses one that is misspelled or that
// nobody should be made to compute.
func parseHash(stored string) (storedHash, error) {
	if len(stored) > maxHashLength || !strings.HasPrefix(stored, "$") {
		return storedHash{}, errHash
	}
	if strings.HasPrefix(stored, "$2") {
		return parseBcrypt(stored)
	}
	parts := strings.Split(stored[1:], "$")
	switch {
	case (parts[0] == formSHA256 || parts[0] == formImportedSHA256) && len(parts) == 3 && parts[1] == "v=1":
		digest, err := decodeDigest(parts[2])
		return storedHash{form: parts[0], digest: digest}, err
	case parts[0] == formHMAC && len(parts) == 4 && parts[1] == "v=1" && strings.HasPrefix(parts[2], "k="):
		pepper := parts[2][len("k="):]
		if checkKeyID(pepper, maxSymmetricKeyID) != nil {
			return storedHash{}, errHash
		}
		digest, err := decodeDigest(parts[3])
		return storedHash{form: formHMAC, pepper: pepper, digest: digest}, err
	case (parts[0] == formArgon || parts[0] == formArgonBound) && len(parts) == 5 && parts[1] == "v=19":
		return parseArgon(parts[0], parts[2], parts[3], parts[4])
	default:
		return storedHash{}, errHash
	}
}

func decodeDigest(text string) ([]byte, error) {
	digest, err := canonical.DecodeBase64(base64.RawURLEncoding, text)
	if err != nil || len(digest) != sha256.Size {
		return nil, errHash
	}
	return digest, nil
}

// argonHash is an argon2id hash and what it took to make it.
type argonHash struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
	salt    []byte
	hash    []byte
}

// An imported hash has a cost of its own, within bounds: below them it protects nobody, and above
// them a verification would take too long (bcrypt at cost 31 runs for a day; argon2 panics at t=0).
const (
	minArgonMemory, maxArgonMemory = 8 * 1024, 64 * 1024 // KiB
	maxArgonTime                   = 4
	maxArgonThreads                = 4
	minArgonSalt, maxArgonSalt     = 8, 64
	minArgonHash, maxArgonHash     = 16, 64
	minBcryptCost, maxBcryptCost   = 10, 13
	maxBcryptSecret                = 72 // what is longer, bcrypt cuts off in silence
	maxSlowSecret                  = 1024
)

func parseArgon(form, params, salt, hash string) (storedHash, error) {
	s := storedHash{form: form}
	fields := strings.Split(params, ",")
	if len(fields) == 4 && form == formArgonBound && strings.HasPrefix(fields[3], "k=") {
		s.pepper = fields[3][len("k="):]
		if checkKeyID(s.pepper, maxSymmetricKeyID) != nil {
			return storedHash{}, errHash
		}
		fields = fields[:3]
	}
	if len(fields) != 3 {
		return storedHash{}, errHash
	}
	memory, err1 := parseParam(fields[0], "m=", minArgonMemory, maxArgonMemory)
	time, err2 := parseParam(fields[1], "t=", 1, maxArgonTime)
	threads, err3 := parseParam(fields[2], "p=", 1, maxArgonThreads)
	saltBytes, err4 := decodeSized(salt, minArgonSalt, maxArgonSalt)
	hashBytes, err5 := decodeSized(hash, minArgonHash, maxArgonHash)
	if err := cmp.Or(err1, err2, err3, err4, err5); err != nil {
		return storedHash{}, err
	}
	s.argon = argonHash{memory: uint32(memory), time: uint32(time), threads: uint8(threads), salt: saltBytes, hash: hashBytes}
	return s, nil
}

func parseParam(text, name string, low, high int) (int, error) {
	digits, ok := strings.CutPrefix(text, name)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || strconv.Itoa(n) != digits || n < low || n > high {
		return 0, errHash
	}
	return n, nil
}

func decodeSized(text string, low, high int) ([]byte, error) {
	b, err := canonical.DecodeBase64(base64.RawStdEncoding, text)
	if err != nil || len(b) < low || len(b) > high {
		return nil, errHash
	}
	return b, nil
}

func parseBcrypt(stored string) (storedHash, error) {
	if len(stored) != 60 || !strings.Contains("aby", stored[2:3]) || stored[3] != '$' || stored[6] != '$' {
		return storedHash{}, errHash
	}
	cost, err := strconv.Atoi(stored[4:6])
	if err != nil || cost < minBcryptCost || cost > maxBcryptCost {
		return storedHash{}, errHash
	}
	for _, c := range []byte(stored[7:]) {
		if !canonical.IsAlphanumeric(c) && c != '.' && c != '/' {
			return storedHash{}, errHash
		}
	}
	return storedHash{form: formBcrypt, bcrypt: stored}, nil
}
