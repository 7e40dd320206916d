package wiretest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// hostTable is the users table of a host, and implements auth.UserSource. If find is set, FindUser
// first calls find and returns its error. ResolveGitHub does the same with resolve.
type hostTable struct {
	mu       sync.Mutex
	users    map[string]auth.User
	accounts map[auth.GitHubAccount]string // the user IDs of ResolveGitHub
	find     func(ctx context.Context, id string) error
	resolve  func(ctx context.Context) error
	finds    int
	resolved []string // the arguments of ResolveGitHub
}

func (h *hostTable) FindUser(ctx context.Context, id string) (auth.User, error) {
	h.mu.Lock()
	h.finds++
	find := h.find
	h.mu.Unlock()
	if find != nil {
		if err := find(ctx, id); err != nil {
			return auth.User{}, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	user, ok := h.users[id]
	if !ok {
		return auth.User{}, fmt.Errorf("host: %w", auth.ErrNotFound)
	}
	return user, nil
}

func (h *hostTable) ResolveGitHub(
	ctx context.Context, profile auth.GitHubProfile, email string,
) (string, error) {
	h.mu.Lock()
	resolve := h.resolve
	h.resolved = append(h.resolved, fmt.Sprintf("%s %d %s", profile.Login, profile.Account.ID, email))
	h.mu.Unlock()
	if resolve != nil {
		if err := resolve(ctx); err != nil {
			return "", err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.accounts[profile.Account]
	if !ok {
		return "", fmt.Errorf("host: %w", auth.ErrNotFound)
	}
	return id, nil
}

// change passes the user with this ID to the given function, which can change the user. If the user
// does not exist, change creates it.
func (h *hostTable) change(id string, change func(*auth.User)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	user := h.users[id]
	change(&user)
	h.users[id] = user
}

func (h *hostTable) setActive(id string, active bool) {
	h.change(id, func(u *auth.User) { u.IsActive = active })
}

func (h *hostTable) delete(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.users, id)
}

// before sets the function find, which FindUser calls first.
func (h *hostTable) before(find func(ctx context.Context, id string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.find = find
}

// counts returns the number of calls of FindUser and of ResolveGitHub.
func (h *hostTable) counts() (finds, resolved int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.finds, len(h.resolved)
}

// newHostTable returns a table with two users: alice, whose GitHub account is octocat, and the
// super user boss.
func newHostTable() *hostTable {
	user := func(id, name string) auth.User {
		return auth.User{
			ID: id, Username: name, Email: name + "@host.example", IsActive: true,
			CreatedAt: authtest.NewClock().Now(),
		}
	}
	boss := user("u-boss", "boss")
	boss.IsSuperUser = true
	return &hostTable{
		users:    map[string]auth.User{"u-alice": user("u-alice", "alice"), "u-boss": boss},
		accounts: map[auth.GitHubAccount]string{{Host: "githubtest.invalid", ID: octocat}: "u-alice"},
	}
}

// hostFixture is a fixture with the users table of a host.
type hostFixture struct {
	*fixture
	table *hostTable
	pair  auth.KeyPair // of alice
}

// ownTable configures a service that uses the table of a host.
func ownTable(table *hostTable) func(*fixture, *auth.Config) {
	return func(f *fixture, _ *auth.Config) {
		f.store, f.accounts, f.source = nil, memstore.NewAccounts(), table
	}
}

func newHostFixture(t testing.TB, change ...func(*fixture, *auth.Config)) *hostFixture {
	t.Helper()
	table := newHostTable()
	h := &hostFixture{table: table}
	h.fixture = newFixture(t, append([]func(*fixture, *auth.Config){ownTable(table)}, change...)...)
	h.pair = h.issue("u-alice")
	return h
}

func (h *hostFixture) issue(id string) auth.KeyPair {
	h.t.Helper()
	pair, err := h.svc.Credentials().Issue(h.t.Context(), authtest.ByHost, id, auth.KeyOptions{})
	require.NoError(h.t, err)
	return pair
}

// requireNoSession fails the test if the store has a session of the user, even an expired one.
func (f *fixture) requireNoSession(id string) {
	f.t.Helper()
	sessions, err := f.accounts.ListSessions(f.t.Context(), id, time.Time{})
	require.NoError(f.t, err)
	require.Empty(f.t, sessions, "no session is left")
}
