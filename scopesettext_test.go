package auth_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
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
