package auth_test

import (
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func TestNoScopeSetHasTheTextOfNoLimit(t *testing.T) {
	t.Parallel()
	_, err := auth.ParseScopes((*auth.ScopeSet)(nil).String())
	require.ErrorIs(t, err, auth.ErrInvalid)
}

func TestAnInvalidSetEqualsNoOtherSet(t *testing.T) {
	t.Parallel()
	flawed := auth.NewScopes("a b")
	tooLong := make([]string, 20)
	for i := range tooLong {
		tooLong[i] = strings.Repeat(string(rune('a'+i)), 64)
	}
	require.False(t, flawed.Equal(auth.NewScopes()))
	require.False(t, auth.NewScopes().Equal(flawed))
	require.False(t, flawed.Equal(auth.NewScopes(tooLong...)))
}

func TestAllScopesOfASetTogetherHaveAtMost1024Bytes(t *testing.T) {
	t.Parallel()
	longest := []string{strings.Repeat("z", 49)}
	for i := range 15 {
		longest = append(longest, strings.Repeat(string(rune('a'+i)), 64))
	}
	require.Len(t, auth.NewScopes(longest...).String(), 1024)
	require.NoError(t, auth.NewScopes(longest...).Validate())
	longest[0] += "z"
	require.ErrorIs(t, auth.NewScopes(longest...).Validate(), auth.ErrInvalid)
}
