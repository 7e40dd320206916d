package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func TestNoScopeSetHasTheTextOfNoLimit(t *testing.T) {
	t.Parallel()
	_, err := auth.ParseScopes((*auth.ScopeSet)(nil).String())
	require.ErrorIs(t, err, auth.ErrInvalid)
}
