package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// jwk is a JSON Web Key (RFC 7517). Its parameters are those of RFC 7518, section 6, and RFC 8037.
// If it is encoded as JSON, it has no private or symmetric part.
type jwk struct {
	KeyType   string   `json:"kty"`
	Curve     string   `json:"crv,omitempty"`
	X         segment  `json:"x,omitempty"`
	Y         segment  `json:"y,omitempty"`
	D         segment  `json:"-"` // the private half
	K         segment  `json:"-"` // a symmetric key
	ID        string   `json:"kid,omitempty"`
	Algorithm string   `json:"alg,omitempty"`
	Use       string   `json:"use,omitempty"`
	Uses      []string `json:"-"` // key_ops

	// RetiredAt is the last second, in Unix time, in which the key signed. It is nil if the key is
	// not retired. This JWK member is a private extension (RFC 7517, section 4). Verifiers ignore a
	// member that they do not know.
	RetiredAt *int64 `json:"sallyport_retired_at,omitempty"`

	hasSecret  bool // the JWK has the member d or k, even if its value cannot be read
	misspelled bool // see members.misspelled
}

// segment is a byte slice that JSON contains as base64url without padding. It is nil if the JWK
// does not have the member.
type segment []byte

func (s segment) MarshalText() ([]byte, error) {
	return canonical.Base64URL.AppendEncode(nil, s), nil
}

// jwkMembers names the members that [parseJWK] reads. setMembers names those that [parseSet] reads.
var (
	jwkMembers = []string{"kty", "crv", "x", "y", "d", "k", "kid", "alg", "use", "key_ops",
		"sallyport_retired_at"}
	setMembers = append([]string{"keys"}, jwkMembers...)
)

// ofKeyType names the members with the parts of a key, for each kty.
var ofKeyType = map[string][]string{
	"EC":  {"crv", "x", "y", "d"},
	"OKP": {"crv", "x", "d"},
	"oct": {"k"},
}

// kindNames has the names of JSON types for error messages.
var kindNames = map[strictjson.Kind]string{
	strictjson.Null: "null", strictjson.Bool: "a truth value", strictjson.Number: "a number",
	strictjson.String: "a string", strictjson.Array: "an array", strictjson.Nested: "an object",
}

// parseSet returns the keys of a JWK set, which parseJWK has yet to parse. If the text is a JSON
// object without the member keys, isSet is false.
func parseSet(text []byte) (keys []strictjson.Value, isSet bool, err error) {
	m := parseMembers(text, setMembers)
	value := m.value("keys")
	if m.err != nil || value.Kind() == strictjson.Absent {
		return nil, false, m.err
	}
	keys, ok := value.Elements()
	if !ok {
		return nil, false, fmt.Errorf("keys must be an array, not %s", kindNames[value.Kind()])
	}
	// Programs would disagree whether such a text is a set or a key.
	for _, name := range []string{"kty", "d", "k", "sallyport_retired_at"} {
		if m.has(name) {
			return nil, false, fmt.Errorf("it has keys beside %s, so it is a set and a key at once", name)
		}
	}
	return keys, true, nil
}

// parseJWK parses a JWK. If it returns an error, the JWK has the members that could be read.
func parseJWK(text []byte) (*jwk, error) {
	m := parseMembers(text, jwkMembers)
	k := &jwk{
		hasSecret:  m.has("d") || m.has("k"),
		misspelled: m.misspelled(),
		ID:         m.text("kid"),
		KeyType:    m.text("kty"),
		Curve:      m.text("crv"),
		X:          m.bytes("x"),
		Y:          m.bytes("y"),
		D:          m.bytes("d"),
		K:          m.bytes("k"),
		Algorithm:  m.text("alg"),
		Use:        m.text("use"),
		Uses:       m.texts("key_ops"),
		RetiredAt:  m.integer("sallyport_retired_at"),
	}
	if own, known := ofKeyType[k.KeyType]; known {
		for _, name := range []string{"crv", "x", "y", "d", "k"} {
			if m.has(name) && !slices.Contains(own, name) {
				m.fail("%s does not belong in a JWK of kty %s", name, k.KeyType)
			}
		}
	}
	return k, m.err
}

// label says which key of a set the JWK is. The index i begins at 0.
func (k *jwk) label(i int) string {
	if !canonical.IsKeyID(k.ID, MaxID) {
		return fmt.Sprintf("key %d", i+1)
	}
	return fmt.Sprintf("key %d, kid %q", i+1, k.ID)
}

// members reads the members of a JSON object by name. The first member that breaks a rule sets err.
// After that, the other members can still be read. A member that is null counts as absent.
type members struct {
	object strictjson.Object
	names  []string
	err    error
}

func parseMembers(text []byte, names []string) *members {
	object, err := strictjson.Parse(text, names)
	return &members{object, names, jsonFault(err)}
}

// jsonFault returns an error that tells the author of a JWK what is wrong. The argument is an error
// of strictjson.Parse, or nil.
func jsonFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strictjson.ErrDuplicate):
		return errors.New("a member is given twice")
	case errors.Is(err, strictjson.ErrVariant):
		return errors.New("a member is in other letters, such as KTY for kty")
	case errors.Is(err, strictjson.ErrEncoding):
		return errors.New("it is not UTF-8 text without NUL")
	case errors.Is(err, strictjson.ErrTooLarge):
		return errors.New("it has too many members or is nested too deeply")
	}
	return errors.New("it is not one JSON object")
}

func (m *members) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *members) value(name string) strictjson.Value {
	return m.object.Value(slices.Index(m.names, name))
}

// has reports whether the object has the member, with a value other than null.
func (m *members) has(name string) bool {
	kind := m.value(name).Kind()
	return kind != strictjson.Absent && kind != strictjson.Null
}

// read returns the value of the member if its JSON type is kind. If the type is another one, read
// sets the error.
func (m *members) read(name string, kind strictjson.Kind) (v strictjson.Value, ok bool) {
	v = m.value(name)
	if !m.has(name) {
		return v, false
	}
	if v.Kind() != kind {
		m.fail("%s must be %s, not %s", name, kindNames[kind], kindNames[v.Kind()])
	}
	return v, v.Kind() == kind
}

// misspelled reports whether the object has a member that is almost certainly meant to be
// sallyport_retired_at. Nothing reads such a member.
func (m *members) misspelled() bool {
	return slices.ContainsFunc(m.object.Unknown(), func(name string) bool {
		name = strings.ToLower(name)
		return strings.Contains(name, "retire") || strings.HasPrefix(name, "sallyport")
	})
}

func (m *members) text(name string) string {
	v, _ := m.read(name, strictjson.String)
	text, _ := v.Text()
	return text
}

func (m *members) bytes(name string) segment {
	v, ok := m.read(name, strictjson.String)
	if !ok {
		return nil
	}
	text, _ := v.Text()
	decoded, err := canonical.DecodeBase64URL(text)
	if err != nil || text == "" {
		m.fail("%s must be base64url without padding", name)
	}
	return decoded
}

func (m *members) texts(name string) []string {
	v, ok := m.read(name, strictjson.Array)
	if !ok {
		return nil
	}
	texts := []string{} // an empty array is not nil, because it allows no use
	elements, _ := v.Elements()
	for _, element := range elements {
		text, ok := element.Text()
		if !ok {
			m.fail("%s must contain strings only", name)
		}
		texts = append(texts, text)
	}
	return texts
}

func (m *members) integer(name string) *int64 {
	if !m.has(name) {
		return nil
	}
	n, ok := m.value(name).Int()
	if !ok {
		m.fail("%s must be a whole number", name)
	}
	return &n
}

// ecdsaPublic returns the public key of a JWK on P-256.
func (k *jwk) ecdsaPublic() (*ecdsa.PublicKey, error) {
	const size = 32
	if len(k.X) != size || len(k.Y) != size { // RFC 7518, section 6.2.1.2
		return nil, fmt.Errorf("auth: x and y of a JWK on P-256 must be %d bytes each", size)
	}
	point := append(append([]byte{4}, k.X...), k.Y...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("auth: x and y of the JWK are not valid: %w", err)
	}
	return public, nil
}

// ed25519Public returns the public key of a JWK for Ed25519.
func (k *jwk) ed25519Public() (ed25519.PublicKey, error) {
	if len(k.X) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("auth: x of a JWK of Ed25519 must be %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(k.X), nil
}
