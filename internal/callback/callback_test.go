package callback_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/callback"
)

func call(f func()) (err error) {
	defer callback.Recover("Config.F", func(failure error) { err = failure })
	f()
	return errors.New("f returned")
}

func TestAPanicOfTheHostIsAnError(t *testing.T) {
	t.Parallel()
	require.EqualError(t, call(func() { panic("broken") }), "auth: Config.F panicked: broken")
	require.EqualError(t, call(func() {}), "f returned")
}
