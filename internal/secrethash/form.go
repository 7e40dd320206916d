package secrethash

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/limits"
)

// Kind is the kind of a stored form. A stored form is the text that a store keeps in place of a
// secret: a hash with its parameters.
type Kind string

// The kinds of stored forms, written in the manner of the PHC string format. The right column says
// which secrets have the form: generated ones, ones that a person chose, or imported ones.
//
//	$sha256$v=1$<digest>                                               generated, no pepper
//	$hmac-sha256$v=1$k=<pepper>$<digest>                               generated
//	$argon2id-bound$v=19$m=..,t=..,p=..[,k=<pepper>]$<salt>$<hash>     chosen, or renewed after an import
//	$argon2id$v=19$m=..,t=..,p=..$<salt>$<hash>                        imported
//	$2a$ $2b$ $2y$ ...                                                 imported: bcrypt
//	$sha256-imported$v=1$<digest>                                      imported: generated elsewhere
//
// The hashes of the first three forms also cover the user ID and the access key. An imported hash
// covers neither, because the program that made it did not know them.
const (
	KindSHA256         Kind = "sha256"
	KindHMAC           Kind = "hmac-sha256"
	KindArgon2Bound    Kind = "argon2id-bound"
	KindArgon2         Kind = "argon2id"
	KindBcrypt         Kind = "bcrypt"
	KindImportedSHA256 Kind = "sha256-imported"
)

// IsImported reports whether another program made the hashes of this kind. They have no pepper.
func (k Kind) IsImported() bool {
	return k == KindArgon2 || k == KindBcrypt || k == KindImportedSHA256
}

// MaxPepperID is the maximum length of a pepper's ID. The ID is part of every stored form with a
// pepper.
const MaxPepperID = 32

// MaxSecret is the maximum length, in bytes, of a secret for which a slow hash is computed.
const MaxSecret = 1024

// The bounds for imported hashes. A cheaper hash does not protect the secret. A costlier hash takes
// too long to verify: bcrypt at cost 31 runs for a day. The parameter t of an argon2id hash must be
// at least 1, because package argon2 panics if t is 0.
const (
	minArgonMemory, maxArgonMemory = 8 * 1024, 64 * 1024 // KiB
	maxArgonTime                   = 4
	maxArgonThreads                = 4
	minArgonSalt, maxArgonSalt     = 8, 64
	minArgonHash, maxArgonHash     = 16, 64
	minBcryptCost, maxBcryptCost   = 10, 13
	maxBcryptSecret                = 72 // bcrypt silently ignores the rest of a longer secret
)

// bcryptBase64 is the encoding of the salt and the checksum in a bcrypt hash.
var bcryptBase64 = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").
	WithPadding(base64.NoPadding)

// ErrForm is the error of [Parse]. Its text contains no part of the hash, so it may be logged.
var ErrForm = errors.New("auth: stored hash is not of a known form")

// Form is a parsed stored form.
type Form struct {
	Kind   Kind
	Pepper string // the ID of the pepper, or "" if the form has none
	Digest []byte // for the kinds with SHA-256 or HMAC-SHA-256
	Argon2 Argon2 // for the kinds with argon2id
	bcrypt string
}

// Argon2 is an argon2id hash and the cost of computing it.
type Argon2 struct {
	Memory  uint32 // KiB
	Time    uint32
	Threads uint8
	Salt    []byte
	Hash    []byte
}

// Parse parses a stored form. It returns ErrForm if the form is not spelled exactly as this package
// spells it. It also returns ErrForm if checking a secret against the form would cost too much or
// too little.
func Parse(stored string) (Form, error) {
	if len(stored) > limits.Hash || !strings.HasPrefix(stored, "$") {
		return Form{}, ErrForm
	}
	if strings.HasPrefix(stored, "$2") {
		return parseBcrypt(stored)
	}
	parts := strings.Split(stored[1:], "$")
	switch kind := Kind(parts[0]); {
	case (kind == KindSHA256 || kind == KindImportedSHA256) && len(parts) == 3 && parts[1] == "v=1":
		digest, err := decodeDigest(parts[2])
		return Form{Kind: kind, Digest: digest}, err
	case kind == KindHMAC && len(parts) == 4 && parts[1] == "v=1":
		pepper, err := parsePepper(parts[2])
		if err != nil {
			return Form{}, err
		}
		digest, err := decodeDigest(parts[3])
		return Form{Kind: kind, Pepper: pepper, Digest: digest}, err
	case (kind == KindArgon2 || kind == KindArgon2Bound) && len(parts) == 5 && parts[1] == "v=19":
		return parseArgon2(kind, parts[2], parts[3], parts[4])
	default:
		return Form{}, ErrForm
	}
}

// parsePepper returns the pepper's ID in a parameter k=<pepper>.
func parsePepper(param string) (id string, err error) {
	id, ok := strings.CutPrefix(param, "k=")
	if !ok || !canonical.IsKeyID(id, MaxPepperID) {
		return "", ErrForm
	}
	return id, nil
}

func decodeDigest(text string) ([]byte, error) {
	digest, err := canonical.DecodeBase64URL(text)
	if err != nil || len(digest) != sha256.Size {
		return nil, ErrForm
	}
	return digest, nil
}

func parseArgon2(kind Kind, params, salt, hash string) (Form, error) {
	f := Form{Kind: kind}
	fields := strings.Split(params, ",")
	if len(fields) == 4 && kind == KindArgon2Bound {
		var err error
		if f.Pepper, err = parsePepper(fields[3]); err != nil {
			return Form{}, err
		}
		fields = fields[:3]
	}
	if len(fields) != 3 {
		return Form{}, ErrForm
	}
	memory, err1 := parseParam(fields[0], "m=", minArgonMemory, maxArgonMemory)
	time, err2 := parseParam(fields[1], "t=", 1, maxArgonTime)
	threads, err3 := parseParam(fields[2], "p=", 1, maxArgonThreads)
	saltBytes, err4 := decodeSized(salt, minArgonSalt, maxArgonSalt)
	hashBytes, err5 := decodeSized(hash, minArgonHash, maxArgonHash)
	if err := cmp.Or(err1, err2, err3, err4, err5); err != nil {
		return Form{}, err
	}
	f.Argon2 = Argon2{Memory: uint32(memory), Time: uint32(time), Threads: uint8(threads), Salt: saltBytes,
		Hash: hashBytes}
	return f, nil
}

func parseParam(text, name string, low, high int) (int, error) {
	digits, ok := strings.CutPrefix(text, name)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || strconv.Itoa(n) != digits || n < low || n > high {
		return 0, ErrForm
	}
	return n, nil
}

func decodeSized(text string, low, high int) ([]byte, error) {
	b, err := canonical.DecodeBase64(base64.RawStdEncoding, text)
	if err != nil || len(b) < low || len(b) > high {
		return nil, ErrForm
	}
	return b, nil
}

func parseBcrypt(stored string) (Form, error) {
	if len(stored) != 60 || !strings.Contains("aby", stored[2:3]) || stored[3] != '$' || stored[6] != '$' {
		return Form{}, ErrForm
	}
	cost, err := strconv.Atoi(stored[4:6])
	if err != nil || cost < minBcryptCost || cost > maxBcryptCost {
		return Form{}, ErrForm
	}
	for _, c := range []byte(stored[7:]) {
		if !canonical.IsAlphanumeric(c) && c != '.' && c != '/' {
			return Form{}, ErrForm
		}
	}
	// The last character has two unused bits. Package bcrypt computes them as zero and compares
	// text, so no secret matches a checksum in which they are not zero. The unused bits of the salt
	// may have any value, because package bcrypt ignores them.
	if _, err := canonical.DecodeBase64(bcryptBase64, stored[29:]); err != nil {
		return Form{}, ErrForm
	}
	return Form{Kind: KindBcrypt, bcrypt: stored}, nil
}
