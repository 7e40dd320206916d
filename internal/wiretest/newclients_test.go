package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

// clientAt returns a context with the client.
func clientAt(t testing.TB, address, agent string) context.Context {
	client := auth.ClientInfo{UserAgent: agent}
	if address != "" {
		client.Address = netip.MustParseAddr(address)
	}
	return auth.WithClientInfo(t.Context(), client)
}

// newClientsOf returns the client addresses and user agents in the events of new clients, the oldest first.
func (f *fixture) newClientsOf(user auth.User) (clients []string) {
	f.t.Helper()
	events, err := f.svc.Events(f.t.Context(),
		auth.EventFilter{Kind: eventkind.NewClient, UserID: user.ID}, 200)
	require.NoError(f.t, err)
	for i := range events {
		e := events[len(events)-1-i]
		require.Equal(f.t, user.ID, e.ActorID)
		require.Equal(f.t, "auth.SignIn", e.Host)
		require.NotEmpty(f.t, e.SessionID)
		require.NotEmpty(f.t, e.Method)
		clients = append(clients, strings.TrimSpace(e.Client.Address.String()+" "+e.Client.UserAgent))
	}
	return clients
}

func (f *fixture) signInFrom(svc *auth.Service, address, agent string) {
	f.t.Helper()
	_, err := svc.SignIn(clientAt(f.t, address, agent), f.user.ID, auth.LoginOptions{})
	require.NoError(f.t, err)
}

func TestASignInFromANewClientHasAnEvent(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = open(t) })
		newer := strings.NewReplacer("128.0", "131.5", "20100101", "20990101").Replace(firefox)
		for range 2 {
			f.signInFrom(f.svc, "192.0.2.1", firefox) // the first client makes no event
			f.signInFrom(f.svc, "192.0.2.1", newer)   // a new version is no new client
			f.signInFrom(f.svc, "192.0.2.1", "curl/8.14.1")
			f.signInFrom(f.svc, "192.0.2.2", firefox)
			f.signInFrom(f.svc, "2001:db8::1", firefox)
			f.signInFrom(f.svc, "2001:db8::2", firefox) // in the same network
			f.signInFrom(f.svc, "2001:db8:0:1::1", firefox)
			f.signInFrom(f.svc, "", "Go-http-client/1.1")
			f.signInFrom(f.svc, "198.51.100.7", "")
			f.signInFrom(f.svc, "", "") // nothing is known of this client
		}
		want := []string{"192.0.2.1 curl/8.14.1", "192.0.2.2 " + firefox, "2001:db8::1 " + firefox,
			"2001:db8:0:1::1 " + firefox, "invalid IP Go-http-client/1.1", "198.51.100.7"}
		require.Equal(t, want, f.newClientsOf(f.user))
		require.NotContains(t, f.log.String(), "was not remembered")

		restarted := f.another(t)
		f.signInFrom(restarted, "192.0.2.2", firefox)
		require.Equal(t, want, f.newClientsOf(f.user), "the store remembers the clients")
		require.Empty(t, f.newClientsOf(f.admin))
	})
}

func TestAnAccessKeyAndGitHubAlsoHaveClients(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, agent := range []string{"first", "second", "second"} {
		_, err := f.svc.Login(clientAt(t, "192.0.2.1", agent), f.userPair, auth.LoginOptions{})
		require.NoError(t, err)
		r := f.send("POST", "/auth/users/login", loginBody(f.userPair), "User-Agent", agent+" over HTTP")
		require.Equal(t, 200, r.status)
	}
	require.Equal(t, []string{"192.0.2.1 first over HTTP", "192.0.2.1 second", "192.0.2.1 second over HTTP"},
		f.newClientsOf(f.user))

	g := newGitHub(t, githubOptions{})
	var identity auth.Identity
	for _, agent := range []string{"first", "second", "second"} {
		b := g.browser()
		p := b.get(b.authURL(signInCall), "User-Agent", agent)
		require.Equal(t, http.StatusOK, p.status, p.body)
		var err error
		identity, err = g.svc.Tokens().Verify(t.Context(), p.json(t)["token"].(string))
		require.NoError(t, err)
	}
	clients := g.newClientsOf(auth.User{ID: identity.UserID})
	require.Len(t, clients, 1)
	require.Contains(t, clients[0], "second")
}

// countedCalls counts the calls of one method of the store. If err is set, the method fails.
type countedCalls struct {
	method string
	calls  atomic.Int64
	err    atomic.Pointer[error]
}

func (c *countedCalls) before(method string) error {
	if method != c.method {
		return nil
	}
	c.calls.Add(1)
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

func TestAKnownClientCostsNoCallOfTheStore(t *testing.T) {
	t.Parallel()
	counted := &countedCalls{method: "RememberClient"}
	f := newFixture(t, withFaults(counted.before))
	for range 100 {
		f.signInFrom(f.svc, "192.0.2.1", firefox)
		f.signInFrom(f.svc, "192.0.2.1", "curl/8.14.1")
		f.clock.Advance(10 * time.Minute)
	}
	require.EqualValues(t, 2, counted.calls.Load())
	f.clock.Advance(8 * time.Hour) // a client is remembered again once a day, so that it is not pruned
	f.signInFrom(f.svc, "192.0.2.1", firefox)
	f.signInFrom(f.svc, "192.0.2.1", firefox)
	require.EqualValues(t, 3, counted.calls.Load())
	f.clock.Advance(-48 * time.Hour) // a clock that is set back
	f.signInFrom(f.svc, "192.0.2.1", firefox)
	f.signInFrom(f.svc, "192.0.2.1", firefox)
	require.EqualValues(t, 4, counted.calls.Load())
	require.Len(t, f.newClientsOf(f.user), 1)
}

// Attack on the sign-in: the store fails to remember the client, or does not answer.
func TestASignInSucceedsIfTheClientIsNotRemembered(t *testing.T) {
	t.Parallel()
	counted := &countedCalls{method: "RememberClient"}
	f := newFixture(t, withFaults(counted.before))
	f.signInFrom(f.svc, "192.0.2.1", "first")
	down := errors.New("the disk is full")
	counted.err.Store(&down)
	for range 10 {
		f.signInFrom(f.svc, "192.0.2.1", "second")
	}
	require.EqualValues(t, 2, counted.calls.Load(), "the failing store is left in peace")
	require.Equal(t, 1, strings.Count(f.log.String(), "the client of a sign-in was not remembered"))
	require.Contains(t, f.log.String(), "the disk is full")
	require.Empty(t, f.newClientsOf(f.user))

	counted.err.Store(nil)
	f.clock.Advance(30 * time.Second)
	f.signInFrom(f.svc, "192.0.2.1", "second")
	require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(f.user))
	require.Contains(t, f.log.String(), "clients of sign-ins are remembered again")
}

func TestASignInDoesNotWaitLongForTheClientToBeRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(f *fixture, _ *auth.Config) {
			f.store = &hangingClients{Store: memstore.New()}
		})
		began := time.Now()
		for range 5 {
			f.signInFrom(f.svc, "192.0.2.1", firefox)
		}
		require.Equal(t, time.Second, time.Since(began), "only the first sign-in waits")
		ctx, cancel := context.WithCancel(clientAt(t, "192.0.2.1", firefox))
		defer cancel()
		f.clock.Advance(time.Minute)
		_, err := f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// The client goes away after its session was created.
func TestTheClientOfACanceledSignInIsRemembered(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(clientAt(t, "192.0.2.1", "second"))
	defer cancel()
	counted := &countedCalls{method: "RememberClient"}
	f := newFixture(t, withFaults(func(method string) error {
		if err := counted.before(method); err != nil || counted.calls.Load() < 2 {
			return err
		}
		cancel()
		return nil
	}))
	f.signInFrom(f.svc, "192.0.2.1", "first")
	_, _ = f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
	require.Error(t, ctx.Err())
	require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(f.user))
}

// hangingClients is a store whose RememberClient does not answer: for the users with these IDs, or for all
// users if there are no IDs.
type hangingClients struct {
	*memstore.Store
	users []string
}

func (h *hangingClients) RememberClient(
	ctx context.Context, w auth.Write, client auth.SignInClient,
) (bool, error) {
	if len(h.users) > 0 && !slices.Contains(h.users, client.UserID) {
		return h.Store.RememberClient(ctx, w, client)
	}
	<-ctx.Done()
	return false, ctx.Err()
}

// registerNumbered registers users for a test of their sign-ins.
func (f *fixture) registerNumbered(count int) (users []auth.User) {
	f.t.Helper()
	for i := range count {
		made, err := f.svc.Register(f.t.Context(), authtest.ByHost,
			auth.UserParams{Username: fmt.Sprintf("numbered-%d", i)})
		require.NoError(f.t, err)
		users = append(users, made.User)
	}
	return users
}

func (f *fixture) signInAs(user auth.User, agent string) {
	f.t.Helper()
	_, err := f.svc.SignIn(clientAt(f.t, "192.0.2.1", agent), user.ID, auth.LoginOptions{})
	require.NoError(f.t, err)
}

// Attack on the events of other users: the record of one user is locked, and this user signs in all the time.
func TestAUserWhoseClientIsNotRememberedSilencesNoOtherUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hangingClients{Store: memstore.New()}
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
		store.users = []string{f.user.ID}
		users := f.registerNumbered(20)
		began := time.Now()
		for i, user := range users {
			f.signInAs(user, "first")
			f.signInAs(f.user, fmt.Sprintf("agent %c", 'a'+i))
			f.signInAs(user, "second")
			require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(user))
			f.clock.Advance(20 * time.Second)
		}
		require.Equal(t, 10*time.Second, time.Since(began), "the user waits once in 30 seconds")
	})
}

// The failures of one user count once, even if no other user has signed in between.
func TestManyFailuresForOneUserSilenceNoOtherUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hangingClients{Store: memstore.New()}
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
		store.users = []string{f.user.ID}
		f.signInAs(f.admin, "first")
		for range 5 {
			f.clock.Advance(30 * time.Second)
			f.signInAs(f.user, "first")
		}
		f.signInAs(f.admin, "second")
		require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(f.admin))
	})
}

// If the store answers between the failures, it is not the store that fails.
func TestFailuresForUsersAmongSuccessesSilenceNoOtherUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hangingClients{Store: memstore.New()}
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
		users := f.registerNumbered(20)
		locked, others := users[:10], users[10:]
		for _, user := range locked {
			store.users = append(store.users, user.ID)
		}
		for i, user := range others {
			f.signInAs(user, "first")
			f.signInAs(locked[i], "first")
			f.signInAs(user, "second")
			require.Equal(t, []string{"192.0.2.1 second"}, f.newClientsOf(user))
		}
	})
}

// Attack on sign-ins: a store that does not answer must not delay each of them.
func TestAStoreThatRemembersNoClientDelaysFewSignIns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(f *fixture, _ *auth.Config) {
			f.store = &hangingClients{Store: memstore.New()}
		})
		users := f.registerNumbered(40)
		began := time.Now()
		for _, user := range users[:20] {
			f.signInAs(user, "first")
		}
		require.Equal(t, 3*time.Second, time.Since(began))
		f.clock.Advance(30 * time.Second)
		for _, user := range users[20:] {
			f.signInAs(user, "first")
		}
		require.Equal(t, 4*time.Second, time.Since(began), "after the pause, one sign-in finds out")
	})
}

// A user signs in from many new clients on two instances at the same time.
func TestEachNewClientHasOneEventOnAllInstances(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = open(t) })
		services := []*auth.Service{f.svc, f.another(t), f.another(t)}
		f.signInFrom(f.svc, "192.0.2.1", "first")
		var running sync.WaitGroup
		for _, svc := range services {
			for _, agent := range []string{"a", "b", "c", "d"} {
				ctx := clientAt(t, "192.0.2.1", agent)
				running.Go(func() { _, _ = svc.SignIn(ctx, f.user.ID, auth.LoginOptions{}) })
			}
		}
		running.Wait()
		require.ElementsMatch(t, []string{"192.0.2.1 a", "192.0.2.1 b", "192.0.2.1 c", "192.0.2.1 d"},
			f.newClientsOf(f.user))
	})
}

func TestAClientThatWasNotSeenForLongIsForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.AuditRetention = 40 * day })
	for range 20 {
		f.signInFrom(f.svc, "192.0.2.1", "often")
		f.clock.Advance(day)
	}
	f.signInFrom(f.svc, "192.0.2.1", "once")
	f.clock.Advance(39 * day)
	f.signInFrom(f.svc, "192.0.2.1", "often")
	f.clock.Advance(2 * day)
	_, err := f.svc.Prune(t.Context())
	require.NoError(t, err)
	f.signInFrom(f.svc, "192.0.2.1", "often")
	f.signInFrom(f.svc, "192.0.2.1", "once")
	require.Equal(t, []string{"192.0.2.1 once"}, f.newClientsOf(f.user), "the first event was pruned")
}

// Without an audit trail and without OnEvent, nobody would see the event, and the store is not asked.
func TestClientsAreRememberedOnlyForAReader(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		onEvent bool
		calls   int64
	}{"nobody reads": {false, 0}, "OnEvent": {true, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counted, got := &countedCalls{method: "RememberClient"}, authtest.EventRecord{}
			f := newFixture(t, withFaults(counted.before), func(_ *fixture, cfg *auth.Config) {
				cfg.DisableAuditTrail = true
				if test.onEvent {
					cfg.OnEvent = got.Add
				}
			})
			f.signInFrom(f.svc, "192.0.2.1", "first")
			f.signInFrom(f.svc, "192.0.2.1", "second")
			require.Equal(t, test.calls, counted.calls.Load())
			require.Equal(t, test.onEvent, strings.Contains(f.log.String(), "sign_in.new_client"))
		})
	}
}

func TestUsersOfTheHostHaveClients(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	for _, agent := range []string{"first", "second"} {
		_, err := h.svc.SignIn(clientAt(t, "192.0.2.1", agent), "u-alice", auth.LoginOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"192.0.2.1 second"}, h.newClientsOf(auth.User{ID: "u-alice"}))
}

// A user is deleted, or signs in for the last time, while the client is remembered.
func TestTheClientOfADeletedUserIsNoFailure(t *testing.T) {
	t.Parallel()
	var f *fixture
	counted := &countedCalls{method: "RememberClient"}
	f = newFixture(t, withFaults(func(method string) error {
		if method == counted.method {
			require.NoError(t, f.svc.DeleteUser(t.Context(), authtest.ByHost, f.user.ID))
		}
		return nil
	}))
	f.signInFrom(f.svc, "192.0.2.1", "first")
	require.NotContains(t, f.log.String(), "was not remembered")
}
