package recipes_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// importedKey is an imported access key. In a URL path, some of its characters must be escaped.
const importedKey = "team/alice@example.com"

// fixture is a service with the super user root and the user alice.
type fixture struct {
	svc    *auth.Service
	log    lockedBuffer // the log of the service
	broken atomic.Bool  // makes the store fail
	panics atomic.Bool  // makes the store panic
	passed atomic.Int64 // by how much the clock is ahead

	root, alice         auth.User
	rootPair, alicePair auth.KeyPair
}

// lockedBuffer is a buffer to which several goroutines can write.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// failingStore is a store whose method FindSession fails while the fixture's flag broken is set.
// While the flag panics is set, the method panics.
type failingStore struct {
	auth.Store
	broken, panics *atomic.Bool
}

func (s failingStore) FindSession(ctx context.Context, id string) (auth.Session, error) {
	if s.panics.Load() {
		panic("a bug of the store")
	}
	if s.broken.Load() {
		return auth.Session{}, context.DeadlineExceeded
	}
	return s.Store.FindSession(ctx, id)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{}
	key, err := auth.NewHS256Key("test", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	f.svc, err = auth.New(failingStore{memstore.New(), &f.broken, &f.panics}, auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		// With this option, the service reads the store for each request. A test can then make
		// requests fail by breaking the store.
		Tokens: auth.TokenConfig{
			CheckSessionsInStore: true,
			Scopes:               []string{"reports:read", "reports:write"},
		},
		Credentials: auth.CredentialConfig{AllowImported: true},
		Timeout:     2 * time.Second,

		Proxies: auth.TrustProxies(netip.MustParsePrefix("127.0.0.0/8")),
		Now:     func() time.Time { return time.Now().Add(time.Duration(f.passed.Load())) },
		Logger:  slog.New(slog.NewTextHandler(&f.log, nil)),
	})
	require.NoError(t, err)
	f.rootPair = f.svc.Credentials().GeneratePair()
	f.root, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, f.rootPair)
	require.NoError(t, err)
	made, err := f.svc.Register(t.Context(), auth.ByHost("setup"),
		auth.UserParams{Username: "alice", Email: "alice@example.com"})
	require.NoError(t, err)
	f.alice, f.alicePair = made.User, made.Pair
	return f
}

func (f *fixture) token(t *testing.T, user auth.User) string {
	t.Helper()
	token, err := f.svc.SignIn(t.Context(), user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

// forged returns the token with a changed signature.
func forged(token string) string {
	last := "A"
	if token[len(token)-10:len(token)-9] == last {
		last = "B"
	}
	return token[:len(token)-10] + last + token[len(token)-9:]
}
