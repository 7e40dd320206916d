package wiretest

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestAKeyAndAPreviousSecretEndAtTheInstantThatTheyName(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	now := c.clock.Now()
	c.clock.Advance(now.Truncate(time.Second).Add(time.Second).Sub(now)) // stores keep microseconds
	expiring, err := c.Issue(t.Context(), authtest.ByHost, "u1",
		auth.KeyOptions{ExpiresAt: c.clock.Now().Add(time.Hour)})
	require.NoError(t, err)
	previous := c.issue(t)
	_, err = c.Rotate(t.Context(), authtest.ByHost, previous.AccessKey, time.Hour)
	require.NoError(t, err)

	c.clock.Advance(time.Hour - 1)
	c.requireGood(t, expiring)
	c.requireGood(t, previous)
	c.clock.Advance(1)
	c.requireBad(t, expiring)
	c.requireBad(t, previous)
}
