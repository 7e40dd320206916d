package wiretest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestARemoteVerifierRejectsTokensIssuedAfterTheirKeyWasRetired(t *testing.T) {
	t.Parallel()
	for alg, other := range map[string]string{"ES256": "EdDSA", "EdDSA": "ES256"} {
		r := newRemote(t, alg)
		before := r.token.Bearer.Reveal()
		r.requireGood(t, before)
		retired := r.clock.Now()
		r.clock.Advance(2 * time.Second) // the holder of the stolen key continues to sign
		forged := issue(t, r.issuer)
		r.requireGood(t, forged)

		next := authtest.NewSigners(t)[other].Key
		require.NoError(t, r.issuer.SetKeys([]auth.SigningKey{next, r.Key.RetiredAt(retired)}))
		r.clock.Advance(5 * time.Minute)
		r.requireRejected(t, forged)
		r.requireGood(t, before)
		r.requireGood(t, issue(t, r.issuer))

		var set struct{ Keys []map[string]any }
		require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
		require.NotContains(t, set.Keys[0], "sallyport_retired_at")
		require.EqualValues(t, retired.Unix(), set.Keys[1]["sallyport_retired_at"])
	}
}

// A retirement time that cannot be parsed must not count as none.
func TestAKeyWithAnInvalidRetirementTimeIsIgnored(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"1", 1.5, true, []int{1}, 1e30} {
		r := newRemote(t, "EdDSA")
		var set struct{ Keys []map[string]any }
		require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
		set.Keys[0]["sallyport_retired_at"] = value
		text, err := json.Marshal(map[string]any{"keys": set.Keys})
		require.NoError(t, err)
		r.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
		r.requireUnknown(t, r.token.Bearer.Reveal())
	}
}
