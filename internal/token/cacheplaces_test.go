package token_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATokenHasOnePlaceWhateverItsRing(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8)
	first, second := c.token(t, now+60), c.token(t, now+60)
	c.add(t, first, c.ring, now)
	c.add(t, second, c.ring, now)
	c.add(t, second, c.other, now)
	require.True(t, c.has(first))
	require.False(t, c.has(second), "only the last ring that has verified the token counts")
}

func TestALongTokenThatGoesMakesRoomForAShortOne(t *testing.T) {
	t.Parallel()
	c := newCached(t, 8) // one bucket, of 8 KiB
	short := c.token(t, now+60)
	c.add(t, short, c.ring, now)
	var long []string
	for range 4 { // three long tokens fit beside the short one
		text := c.forge(t, c.header(nil),
			c.claims(map[string]any{"jti": rand.Text(), "username": strings.Repeat("x", 1500)}))
		c.add(t, text, c.ring, now)
		long = append(long, text)
	}
	require.False(t, c.has(long[0]))
	require.True(t, c.has(long[1]) && c.has(long[2]) && c.has(long[3]))
	require.True(t, c.has(short))
}

func TestTheSizeOfACacheIsRoundedUp(t *testing.T) {
	t.Parallel()
	c := newCached(t, 9) // two buckets of 8
	var all []string
	for range 100 {
		all = append(all, c.token(t, now+60))
		c.add(t, all[len(all)-1], c.ring, now)
	}
	tokens := 0
	for _, text := range all {
		if c.has(text) {
			tokens++
		}
	}
	require.Greater(t, tokens, 8)
}

func TestOnlyTheTokenThatIsNotAskedForAgainGoes(t *testing.T) {
	t.Parallel()
	for range 50 { // the hash decides which token is dropped
		c := newCached(t, 8)
		var all []string
		for range 8 {
			text := c.token(t, now+60)
			c.add(t, text, c.ring, now)
			require.True(t, c.has(text))
			all = append(all, text)
		}
		newest := c.token(t, now+60)
		c.add(t, newest, c.ring, now) // after this, the other tokens are not wanted
		require.True(t, c.has(newest))
		var asked []string
		for _, text := range all[1:] {
			if c.has(text) {
				asked = append(asked, text)
			}
		}
		if len(asked) == 7 { // the first token has already been dropped
			continue
		}
		c.add(t, c.token(t, now+60), c.ring, now)
		require.False(t, c.has(all[0]))
		for _, text := range append(asked, newest) {
			require.True(t, c.has(text))
		}
	}
}
