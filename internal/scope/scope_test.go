package scope_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/scope"
)

func TestOnlyVisibleASCIIWithoutQuotesIsAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a", "reports:read", "https://api.example.com/x", "!", "~", strings.Repeat("x", 64),
	} {
		require.True(t, scope.IsName(name), name)
	}
	for _, name := range []string{
		"", " ", "a b", "a\tb", "a\nb", `a"b`, `a\b`, "ä", "a\x00", "\x7f", strings.Repeat("x", 65),
	} {
		require.False(t, scope.IsName(name), "%q", name)
	}
}

func TestAnAudienceHasTheCharactersOfAScope(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "https://api.example.com/x?y=1#z", strings.Repeat("x", 256)} {
		require.True(t, scope.IsAudience(name), name)
	}
	for _, name := range []string{
		"", " ", "a b", "a\n", `a"b`, `a\b`, "ä", "a\x00", "\x7f", strings.Repeat("x", 257),
	} {
		require.False(t, scope.IsAudience(name), "%q", name)
	}
}

func TestASetHasOneText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a b c", scope.Join([]string{"c", "a", "b", "a"}))
	require.Empty(t, scope.Join(nil))
	require.Equal(t, []string{"a", "b"}, scope.Split("a b"))
	require.Equal(t, []string{}, scope.Split(""))
	long := "a" + strings.Repeat("x", 60)
	for text, canonical := range map[string]bool{
		"": true, "a": true, "a b": true, "a:b a:c": true,
		"b a": false, "a a": false, "a  b": false, " a": false, "a ": false, " ": false, "a\tb": false,
		`a"`: false, "a\x00": false, strings.Repeat("x", 65): false,
		long + " " + strings.Repeat("b", 64): true,
	} {
		require.Equal(t, canonical, scope.IsCanonical(text), "%q", text)
	}
	names := make([]string, 20)
	for i := range names {
		names[i] = strings.Repeat("x", 63-i)
	}
	require.False(t, scope.IsCanonical(scope.Join(names)), "longer than MaxText")
}

func TestMembershipComparesWholeNames(t *testing.T) { // not parallel, because it counts allocations
	require.True(t, scope.Contains("a b c", "b"))
	for _, name := range []string{"", "ab", "d", "a b", " ", "A"} {
		require.False(t, scope.Contains("a b c", name), "%q", name)
	}
	require.False(t, scope.Contains("", ""))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		scope.Contains("reports:read reports:write", "reports:write")
	}))

	require.Empty(t, scope.Missing("", ""))
	require.Empty(t, scope.Missing("", "a"))
	require.Empty(t, scope.Missing("a c", "a b c"))
	require.Equal(t, "b", scope.Missing("a b", "a c"))
	require.Equal(t, "a", scope.Missing("a", ""))
	require.Equal(t, "a:b", scope.Missing("a:b", "a"))
}
