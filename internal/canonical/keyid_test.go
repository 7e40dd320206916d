package canonical_test

import (
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/stretchr/testify/require"
)

func TestAKeyIDHasOnlyCharactersThatNeedNoQuoting(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"1":                     true,
		"A-z_0.9":               true,
		strings.Repeat("x", 32): true,
		strings.Repeat("x", 33): false,
		"":                      false,
		"a$b":                   false,
		"a,b":                   false,
		"a=b":                   false,
		"a b":                   false,
		"a/b":                   false,
		"a\n":                   false,
		"a\x00":                 false,
		"é":                     false,
	} {
		require.Equal(t, want, canonical.IsKeyID(id, 32), "%q", id)
	}
}
