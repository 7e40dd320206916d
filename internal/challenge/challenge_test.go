package challenge_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/challenge"
)

func TestAChallengeHasOnlyTheFieldsThatAreKnown(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]challenge.Bearer{
		`Bearer`:                             {},
		`Bearer error="invalid_token"`:       {Error: "invalid_token"},
		`Bearer scope="a b"`:                 {Scope: "a b"},
		`Bearer resource_metadata="https:x"`: {Metadata: "https:x"},
		`Bearer error="insufficient_scope", scope="a", resource_metadata="https:x"`: {
			Error: "insufficient_scope", Scope: "a", Metadata: "https:x"},
	} {
		require.Equal(t, want, b.String())
	}
}

// The attack: a route asks for a scope that it builds from the request. The request adds the URL of the
// attacker's metadata, and the client asks for its token there.
func TestAFieldAddsNoOtherField(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{
		`x", resource_metadata="https://attacker.example.com`, `x\`, "x\r\nSet-Cookie: a=b", "x\x00", "x\x7f", "é",
	} {
		b := challenge.Bearer{Error: "insufficient_scope", Scope: scope, Metadata: scope}
		require.Equal(t, `Bearer error="insufficient_scope"`, b.String())
	}
}

func TestAHintKeepsTheError(t *testing.T) {
	t.Parallel()
	require.Zero(t, challenge.HintOf(io.EOF))
	require.Zero(t, challenge.HintOf(nil))
	require.Same(t, io.EOF, challenge.WithMetadata(io.EOF, ""))
	require.Same(t, io.EOF, challenge.WithScope(io.EOF, ""))
	for _, err := range []error{
		challenge.WithScope(challenge.WithMetadata(io.EOF, "url"), "scope"),
		challenge.WithMetadata(challenge.WithScope(io.EOF, "scope"), "url"),
		challenge.WithMetadata(challenge.WithScope(challenge.WithMetadata(io.EOF, "url"), "scope"), "other"),
		fmt.Errorf("wrapped: %w", challenge.WithScope(challenge.WithMetadata(io.EOF, "url"), "scope")),
	} {
		hint := challenge.HintOf(err)
		require.Equal(t, "scope", hint.Scope)
		require.Equal(t, "url", hint.Metadata)
		require.ErrorIs(t, err, io.EOF)
	}
	require.Equal(t, "EOF", challenge.WithScope(io.EOF, "scope").Error())
	require.False(t, errors.Is(challenge.WithScope(io.EOF, "scope"), io.ErrUnexpectedEOF))
}
