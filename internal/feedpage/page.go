// Package feedpage carries the revocation feed to services that have no store. The issuer signs pages of
// the feed, and a verifier in another service reads them over HTTP.
//
// A page is a JWS (RFC 7515) that is signed with the key of the issuer's tokens, but has a type of its
// own. So a token is never accepted as a page, and a page never as a token. Each page contains a nonce of
// the verifier, so a page cannot be replayed. A page names users and sessions only by hashes.
//
// [Publisher] makes the pages of an instance of the issuer. [Follower] fetches them. It is the source of
// a [revocation.Feed], which does everything else.
package feedpage

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/strictjson"
	"github.com/sallyport-go/auth/internal/token"
)

const (
	// Type is the typ header parameter of a page.
	Type = "revocations+jwt"

	// MediaType is the media type of a page.
	MediaType = "application/" + Type

	// Header is the response header with the page of an answer that has no body.
	Header = "Sallyport-Revocations"

	// MaxEntries is the maximum number of entries of a page. All entries in memory fit on a page.
	MaxEntries = revocation.MaxTail

	// MaxLength is the maximum length of a page, in bytes. A page of MaxEntries entries has about a
	// fourth of it, unless the store makes long IDs.
	MaxLength = 2 << 20

	// The length of a nonce, in characters of base64url. The shortest nonce has 96 bits.
	MinNonce, MaxNonce = 16, 64

	hashBytes  = 16 // length of a hash, in bytes
	hashLength = 22 // length of a hash, in characters of base64url
)

// Page is a part of the revocation feed as an instance of the issuer knew it.
type Page struct {
	Issuer string
	Nonce  string // chosen by the verifier

	// Entries are the entries with a Position of at least From, in order. UserID and SessionID are
	// hashes: see [Hash].
	Entries []revocation.Entry

	// End is the Position up to which the page has all entries, and Head is the Position of the newest
	// entry. If they differ, there are more entries after End.
	From, End, Head int64

	// SignedAt is when the page was signed. AsOf is a time at which the feed had no entry after Head.
	// Both are times of the issuer's clock in milliseconds. So a verifier that subtracts them learns how
	// old the page was, even if its own clock differs.
	SignedAt, AsOf time.Time
}

// IsUnchanged reports whether the page has nothing that a verifier that has read the feed up to From does
// not know. The page may contain the entry at From, which shows that the feed is still the same.
func (p *Page) IsUnchanged() bool {
	switch len(p.Entries) {
	case 0:
		return p.From == 0 && p.Head == 0
	case 1:
		return p.Entries[0].Position == p.From && p.Head == p.From
	}
	return false
}

// Hash returns the hashes with which a page of this issuer names a user and a session. The hash of an
// empty ID is empty. The hash hides an ID that is random. An ID that can be guessed, such as a number,
// can be found by hashing all guesses.
func Hash(issuer, userID, sessionID string) (user, session string) {
	return hashID("user", issuer, userID), hashID("session", issuer, sessionID)
}

func hashID(kind, issuer, id string) string {
	if id == "" {
		return ""
	}
	digest := sha256.Sum256(canonical.Frame("sallyport revocations", kind, issuer, id))
	return base64.RawURLEncoding.EncodeToString(digest[:hashBytes])
}

// IsNonce reports whether the text has the form of a nonce.
func IsNonce(text string) bool {
	return len(text) >= MinNonce && len(text) <= MaxNonce && canonical.IsBase64URL(text)
}

// pageJSON has the claims of a page.
type pageJSON struct {
	Issuer   string      `json:"iss"`
	Nonce    string      `json:"nonce"`
	From     int64       `json:"from"`
	End      int64       `json:"end"`
	Head     int64       `json:"head"`
	SignedAt int64       `json:"signed_at"`
	AsOf     int64       `json:"as_of"`
	Entries  []entryJSON `json:"entries"`
}

type entryJSON struct {
	Position   int64  `json:"position"`
	ID         string `json:"id"`
	User       string `json:"user,omitempty"`
	Session    string `json:"session,omitempty"`
	Generation int64  `json:"generation"`
	ExpiresAt  int64  `json:"expires_at"` // in Unix time; 0 if a newer entry has replaced this one
}

// Sign returns the text of the page, signed with the key. For the errors, see [signing.Key.Sign].
func (p *Page) Sign(ctx context.Context, key *signing.Key) (string, error) {
	claims := pageJSON{p.Issuer, p.Nonce, p.From, p.End, p.Head, p.SignedAt.UnixMilli(), p.AsOf.UnixMilli(),
		make([]entryJSON, len(p.Entries))}
	for i, e := range p.Entries {
		claims.Entries[i] = entryJSON{e.Position, e.ID, e.UserID, e.SessionID, e.Generation,
			unixCeil(e.ExpiresAt)}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return token.SignText(ctx, key, Type, text)
}

// unixCeil returns the time in seconds of Unix time, rounded up, or 0 for the zero time.
func unixCeil(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Second - 1).Unix()
}

// errForm means that a page was signed by the issuer, but has a form that this package does not know.
var errForm = errors.New("the page has an unknown form")

// The claims of a page and the members of an entry, in the order of pageJSON and entryJSON.
var (
	pageNames  = []string{"iss", "nonce", "from", "end", "head", "signed_at", "as_of", "entries"}
	entryNames = []string{"position", "id", "user", "session", "generation", "expires_at"}
)

// Open verifies that one of the ring's keys has signed the text, and returns the page. It does not
// compare the page with what a verifier has asked for. Its errors do not wrap token.ErrRejected, except
// if the ring does not have the key: then the error wraps token.ErrUnknownKey.
//
// The parameter asked is when the verifier asked for the page, by its own clock. The issuer signs a page
// with the nonce of that request only later. If the key was already retired when the verifier asked, the
// page is a forgery by somebody with the retired key, and SignedAt proves nothing.
func Open(ring *signing.Ring, text string, asked time.Time) (Page, error) {
	claims, key, err := token.OpenText(ring, Type, text, MaxLength)
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return Page{}, err
	case err != nil:
		return Page{}, fmt.Errorf("the page is not signed by the issuer: %v", err)
	}
	page, err := parse(claims)
	if err != nil {
		return Page{}, err
	}
	if key.RetiredBefore(page.SignedAt.Unix()) || key.RetiredBefore(asked.Unix()) {
		return Page{}, errors.New("the page was signed after its key was retired")
	}
	return page, nil
}

func parse(claims []byte) (Page, error) {
	object, err := strictjson.Parse(claims, pageNames)
	if err != nil {
		return Page{}, errForm
	}
	var p Page
	var numbers [5]int64
	var ok1, ok2 bool
	p.Issuer, ok1 = object.Value(0).Text()
	p.Nonce, ok2 = object.Value(1).Text()
	for i := range numbers {
		n, ok := object.Value(2 + i).Int()
		if !ok || n < 0 {
			return Page{}, errForm
		}
		numbers[i] = n
	}
	elements, ok3 := object.Value(7).Elements()
	if !ok1 || !ok2 || !ok3 || len(elements) > MaxEntries {
		return Page{}, errForm
	}
	p.From, p.End, p.Head = numbers[0], numbers[1], numbers[2]
	p.SignedAt, p.AsOf = time.UnixMilli(numbers[3]), time.UnixMilli(numbers[4])
	p.Entries = make([]revocation.Entry, len(elements))
	for i, element := range elements {
		if p.Entries[i], err = parseEntry(element); err != nil {
			return Page{}, err
		}
	}
	return p, nil
}

func parseEntry(element strictjson.Value) (revocation.Entry, error) {
	if element.Kind() != strictjson.Nested {
		return revocation.Entry{}, errForm
	}
	object, err := strictjson.Parse(element.Raw(), entryNames)
	if err != nil {
		return revocation.Entry{}, errForm
	}
	e := revocation.Entry{}
	var ok1, ok2, ok3, ok4 bool
	e.Position, ok1 = object.Value(0).Int()
	e.ID, ok2 = object.Value(1).Text()
	e.Generation, ok3 = object.Value(4).Int()
	expires, ok4 := object.Value(5).Int()
	if !ok1 || !ok2 || !ok3 || !ok4 || e.Position < 1 || e.ID == "" || e.Generation < 0 || expires < 0 {
		return e, errForm
	}
	if expires > 0 {
		e.ExpiresAt = time.Unix(expires, 0).UTC()
	}
	user, session := object.Value(2), object.Value(3)
	if session.Kind() != strictjson.Absent && user.Kind() == strictjson.Absent {
		return e, errForm // an entry for a session without its user would count as one for all users
	}
	for _, field := range []struct {
		value strictjson.Value
		to    *string
	}{{user, &e.UserID}, {session, &e.SessionID}} {
		if field.value.Kind() == strictjson.Absent {
			continue
		}
		hash, ok := field.value.Text()
		if !ok || len(hash) != hashLength || !canonical.IsBase64URL(hash) {
			return e, errForm
		}
		*field.to = hash
	}
	return e, nil
}
