package scope_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/scope"
)

func TestAnAudienceHasTheCharactersOfAScopeAndIsLonger(t *testing.T) {
	t.Parallel()
	for name, is := range map[string]bool{
		"a": true, "https://api.example.com/x": true, strings.Repeat("x", 256): true,
		"": false, "a b": false, `a"`: false, `a\`: false, "é": false, strings.Repeat("x", 257): false,
	} {
		require.Equal(t, is, scope.IsAudience(name), "%q", name)
	}
	for text, canonical := range map[string]bool{
		"": true, "a b": true, "a " + strings.Repeat("b", 256): true, strings.Repeat("x", 256): true,
		"b a": false, "a a": false, "a  b": false, " a": false, "a ": false, strings.Repeat("x", 257): false,
	} {
		require.Equal(t, canonical, scope.IsCanonicalAudiences(text), "%q", text)
	}
}
