package wiretest

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// If a valid token is changed in any way, it is rejected, always with the same response.
func TestMutatedTokensAllGetTheSame401(t *testing.T) {
	t.Parallel()
	rounds := testenv.Rounds(t, testenv.Counts{Small: 2_000, Moderate: 17_000, Full: 350_000})
	for name, s := range authtest.NewSigners(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture, _ *auth.Config) { f.signer = s })
			handler := f.svc.Handler()
			good := f.signIn(f.user)
			ask := func(token string) response {
				return send(handler, http.MethodGet, "/auth/user", "", "Authorization", "Bearer "+token)
			}
			require.Equal(t, http.StatusOK, ask(good).status)
			want := ask("rubbish")
			require.Equal(t, http.StatusUnauthorized, want.status)

			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			for range rounds {
				// Spaces before a token are part of the header and not of the token (RFC 9110,
				// section 11.4).
				mutant := strings.TrimLeft(mutate(random, good), " ")
				if mutant != good {
					require.Equal(t, want, ask(mutant), "seed %d: %q", seed, mutant)
				}
			}
			require.Equal(t, http.StatusOK, ask(good).status, "the original token is still valid")
		})
	}
}

// mutate changes the token in one of eight ways.
func mutate(random *rand.Rand, token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= \n\x00"
	b := []byte(token)
	at := random.IntN(len(b))
	letter := alphabet[random.IntN(len(alphabet))]
	switch random.IntN(8) {
	case 0: // flip a bit
		b[at] ^= 1 << random.IntN(8)
	case 1: // truncate
		b = b[:at]
	case 2: // replace a character
		b[at] = letter
	case 3: // insert a character
		b = append(b[:at:at], append([]byte{letter}, b[at:]...)...)
	case 4: // remove a character
		b = append(b[:at], b[at+1:]...)
	case 5: // replace the last character, which has unused bits
		b[len(b)-1] = letter
	case 6: // swap two characters
		other := random.IntN(len(b))
		b[at], b[other] = b[other], b[at]
	case 7: // repeat a part
		end := at + random.IntN(len(b)-at)
		b = append(b[:end:end], b[at:]...)
	}
	return string(b)
}
