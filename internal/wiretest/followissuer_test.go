package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// restoredFollowing is a following verifier whose issuer can be restored from a backup.
type restoredFollowing struct {
	*following
	database *backedUp
}

func newRestoredFollowing(t *testing.T) *restoredFollowing {
	r := &restoredFollowing{database: newBackedUpStore(t)}
	r.following = newFollowing(t, func(f *fixture, cfg *auth.Config) {
		f.store = r.database.store
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
		r.database.config = *cfg
	})
	r.database.fixture = r.fixture
	return r
}

// restart replaces the issuer by one that has read nothing.
func (r *restoredFollowing) restart() {
	r.svc = r.database.instance()
	r.database.svc = r.svc
}

// The issuer was restored from a backup while it ran. It notices that, and revokes all sessions. The
// verifier follows.
func TestAFollowingVerifierFollowsARestoredIssuer(t *testing.T) {
	t.Parallel()
	f := newRestoredFollowing(t)
	f.signOut(f.user)
	token := f.issue(f.user)
	f.require(accepted, token)
	f.database.backUp(t)
	lost := f.issue(f.user)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), lost.Bearer.Reveal()))
	f.clock.Advance(interval)
	f.require(rejected, lost)
	f.database.restore(t)
	f.clock.Advance(interval)
	f.require(rejected, lost)
	f.require(rejected, token)
	require.Contains(t, f.log.String(), "the store has lost commits")
	fresh := f.issue(f.user)
	f.require(accepted, fresh)
	f.clock.Advance(interval)
	f.require(accepted, fresh)
	f.require(rejected, lost)
}

// The issuer was restored and restarted, so that it does not know what it has lost. The verifier does, and
// accepts no token until the issuer has revoked all sessions.
func TestAFollowingVerifierKnowsWhatARestartedIssuerHasLost(t *testing.T) {
	t.Parallel()
	f := newRestoredFollowing(t)
	f.signOut(f.user)
	token := f.issue(f.user)
	f.require(accepted, token)
	f.database.backUp(t)
	lost := f.signOut(f.user)
	f.clock.Advance(interval)
	f.require(rejected, lost)
	f.require(accepted, token)
	f.database.restore(t)
	f.restart()
	f.clock.Advance(interval)
	for range 3 {
		f.require(unknown, token)
		f.require(unknown, lost)
		f.clock.Advance(time.Minute)
	}
	require.Contains(t, f.seen.String(), "the issuer has lost revocations")
	require.Contains(t, f.log.String(), "another service has read revocations that the store does not have")
	require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
	f.clock.Advance(time.Minute)
	f.require(rejected, token)
	f.require(rejected, lost)
	f.require(accepted, f.issue(f.user))
}

// The access token of the verifier can prove to a restarted issuer that it was restored.
func TestTheAccessTokenOfAVerifierShowsARestore(t *testing.T) {
	t.Parallel()
	f := newRestoredFollowing(t)
	f.signOut(f.user)
	token := f.issue(f.user)
	f.database.backUp(t)
	lost := f.signOut(f.user)
	f.require(rejected, lost, "the verifier signs in now")
	f.database.restore(t)
	f.restart()
	f.clock.Advance(interval)
	f.require(rejected, token)
	f.require(rejected, lost)
	require.Contains(t, f.log.String(), "the store has lost commits")
	f.require(accepted, f.issue(f.user))
}

// A restored issuer has other entries at the Positions that the verifier has read.
func TestAFollowingVerifierNoticesAnotherHistory(t *testing.T) {
	t.Parallel()
	f := newRestoredFollowing(t)
	token := f.issue(f.user)
	f.database.backUp(t)
	lost := f.signOut(f.user)
	f.require(rejected, lost)
	f.database.restore(t)
	f.restart()
	f.signOut(f.admin) // at the same Position as the lost entry
	f.clock.Advance(interval)
	f.require(unknown, token)
	require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
	f.clock.Advance(time.Minute)
	f.require(rejected, lost)
}

// A token from after the newest entry of the issuer proves that the issuer has lost commits. The verifier
// does not reject it, because only the issuer decides that, and does not accept it either. Other tokens
// stay accepted, and the verifier does not ask for each request.
func TestATokenFromAfterTheHeadIsNotDecided(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.signOut(f.user)
	token := f.issue(f.user)
	ahead := auth.Token{Bearer: auth.NewSecret(f.signer.Forge(t, `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`,
		jsonText(map[string]any{
			"iss": issuer, "aud": audience, "sub": f.user.ID, "jti": "s", "iat": f.clock.Now().Unix(),
			"exp": f.clock.Now().Unix() + 3600, "gen": 100, "username": "alice", "is_super_user": false,
		})))}
	f.require(accepted, token)
	f.require(unknown, ahead)
	asked := f.asked.Load()
	for range 20 {
		f.require(unknown, ahead)
		f.require(accepted, token)
	}
	require.Equal(t, asked, f.asked.Load())
	for range 99 { // the issuer catches up
		f.signOut(f.user)
	}
	f.clock.Advance(interval)
	f.require(accepted, token)
	f.require(accepted, ahead)
}

func TestAFollowingVerifierFollowsNewKeys(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	f.require(accepted, token)
	next := authtest.NewSigners(t)["ES256"]
	keys := []auth.SigningKey{next.Key, f.signer.Key.RetiredAt(f.clock.Now())}
	require.NoError(t, f.svc.Tokens().SetKeys(keys))
	revoked := f.issue(f.user)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), revoked.Bearer.Reveal()))
	f.clock.Advance(2 * interval) // the verifier fetches the keys again at the earliest after ten seconds
	f.require(accepted, token)
	f.require(rejected, revoked)

	// The old key is retired. A page that it signs now is not used.
	f.clock.Advance(time.Second)
	f.answers(func(w http.ResponseWriter, r *http.Request) {
		good := f.real(r)
		answered{good.status, f.edited(good.text, func(map[string]any) {})}.write(w)
	})
	for range 13 {
		f.clock.Advance(interval)
		f.status(token)
	}
	f.require(unknown, token)
	require.Contains(t, f.seen.String(), "the page was signed after its key was retired")
}

// Attack: somebody has stolen the retired key of the issuer, and answers in its place. The forged page has a
// time from before the retirement, and none of the revocations since then.
func TestARetiredKeyCannotSignAPageOfThePast(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	next := authtest.NewSigners(t)["ES256"]
	retired := f.clock.Now()
	keys := []auth.SigningKey{next.Key, f.signer.Key.RetiredAt(retired)}
	require.NoError(t, f.svc.Tokens().SetKeys(keys))
	f.clock.Advance(interval)
	f.require(accepted, token)
	forged := 0
	f.answers(func(w http.ResponseWriter, r *http.Request) {
		good := f.real(r)
		forged++
		answered{good.status, f.edited(good.text, func(claims map[string]any) {
			claims["signed_at"], claims["as_of"] = retired.UnixMilli(), retired.UnixMilli()
		})}.write(w)
	})
	for range 13 {
		f.clock.Advance(interval)
		f.status(token)
	}
	require.Positive(t, forged)
	f.require(unknown, token)
	require.Contains(t, f.seen.String(), "the page was signed after its key was retired")
}
