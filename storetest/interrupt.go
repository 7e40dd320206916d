package storetest

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// canceledSoon returns a context that ends at a random moment: at once, during a call, or after the
// call. A test must not depend on which of these happens.
func canceledSoon(t *testing.T) context.Context {
	t.Helper()
	// A call takes microseconds in one store and milliseconds in another. So each order of
	// magnitude from a nanosecond to 16 ms has the same probability.
	most := time.Duration(1) << rand.N(25)
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(rand.N(most), cancel)
	t.Cleanup(func() {
		timer.Stop()
		cancel()
	})
	return ctx
}

// requireNoAnswer fails the test if an interrupted call returned an error that the contract names,
// for example ErrNotFound. No such error is correct, because the tested calls succeed if they are
// not interrupted.
func requireNoAnswer(t *testing.T, err error) {
	t.Helper()
	require.Falsef(t, isOneOf(err, auth.ErrNotFound, auth.ErrExists, auth.ErrInvalid,
		auth.ErrUserDisabled, auth.ErrTokenRejected, auth.ErrGitHubNotAllowed,
		auth.ErrLastSuperUser, auth.ErrBootstrapped, auth.ErrLastWayIn, auth.ErrChanged, auth.ErrTooManyKeys,
		auth.ErrRotating, auth.ErrInsufficientScope), "an interrupted call answered: %v", err)
}

// signs makes several observations of the store after a call. Each observation is true if the call
// has taken effect.
type signs[S any] = func(t *testing.T, store S, own, draft account) []bool

// interruptedMethods contains methods that every store has and that change several records. For
// each method, the [signs] show whether a call has taken effect.
var interruptedMethods = map[string]signs[auth.AccountStore]{
	"RevokeKey": func(t *testing.T, store auth.AccountStore, own, _ account) []bool {
		return []bool{!hasKey(t, store, own.key.ID), !hasSession(t, store, own.session.ID)}
	},
	"SetKeyScopes": func(t *testing.T, store auth.AccountStore, own, _ account) []bool {
		key, _, err := store.FindKey(t.Context(), own.key.ID)
		require.NoError(t, err)
		return []bool{key.Scopes != nil, !hasSession(t, store, own.session.ID)}
	},
	"CreateSession": func(t *testing.T, store auth.AccountStore, own, draft account) []bool {
		signs := []bool{hasSession(t, store, draft.session.ID)}
		if users := usersOf(store); users != nil {
			user, err := users.FindUser(t.Context(), own.user.ID)
			require.NoError(t, err)
			signs = append(signs, user.LastLogin.Equal(draft.session.CreatedAt))
		}
		return signs
	},
	"RevokeUserSessions": func(t *testing.T, store auth.AccountStore, own, _ account) []bool {
		return []bool{!hasSession(t, store, own.session.ID)}
	},
}

// interruptedUserMethods does the same as interruptedMethods, but for the methods that only a store
// with users has.
var interruptedUserMethods = map[string]signs[auth.Store]{
	"Register":      registeredSigns,
	"RegisterUsers": registeredSigns,
	"UpdateUser": func(t *testing.T, store auth.Store, own, _ account) []bool {
		return []bool{isDisabled(t, store, own), !hasSession(t, store, own.session.ID)}
	},
	"ResetUser": func(t *testing.T, store auth.Store, own, draft account) []bool {
		return []bool{
			isDisabled(t, store, own), !hasSession(t, store, own.session.ID),
			!hasKey(t, store, own.key.ID), hasKey(t, store, draft.key.ID),
		}
	},
	"DeleteUser": func(t *testing.T, store auth.Store, own, _ account) []bool {
		return []bool{
			!hasUser(t, store, own.user.ID), !hasKey(t, store, own.key.ID), !hasSession(t, store,
				own.session.ID),
		}
	},
}

func registeredSigns(t *testing.T, store auth.Store, _, draft account) []bool {
	return []bool{hasUser(t, store, draft.user.ID), hasKey(t, store, draft.key.ID)}
}

func isDisabled(t *testing.T, store auth.UserStore, a account) bool {
	t.Helper()
	user, err := store.FindUser(t.Context(), a.user.ID)
	require.NoError(t, err)
	return !user.IsActive
}

// withUserSigns returns a copy of the first map. If the store keeps users, the copy also contains
// the entries of the second map.
func withUserSigns[O, D any](
	store auth.AccountStore,
	accounts map[string]func(t *testing.T, store auth.AccountStore, own O, draft D) []bool,
	users map[string]func(t *testing.T, store auth.Store, own O, draft D) []bool,
) map[string]func(t *testing.T, store auth.AccountStore, own O, draft D) []bool {
	all := maps.Clone(accounts)
	whole, ok := store.(auth.Store)
	if !ok {
		return all
	}
	for name, signs := range users {
		all[name] = func(t *testing.T, _ auth.AccountStore, own O, draft D) []bool {
			return signs(t, whole, own, draft)
		}
	}
	return all
}

func canceledDuring(t *testing.T, store auth.AccountStore) {
	methods := methodsOf(store)
	for name, signs := range withUserSigns(store, interruptedMethods, interruptedUserMethods) {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				interrupt(t,
					func() [2]account { return [2]account{newAccount(t, store), newDraft()} },
					func(ctx context.Context, a [2]account) error {
						return methods[name](ctx, store, a[0], a[1])
					},
					func(a [2]account) []bool { return signs(t, store, a[0], a[1]) },
				)
			}
			newAccount(t, store) // the store still works
		})
	}
}

// interrupt makes several calls at the same time. Each call has its own records, and a context that
// ends at a random moment.
func interrupt[R any](t *testing.T,
	prepare func() R, call func(ctx context.Context, records R) error, signs func(records R) []bool,
) {
	t.Helper()
	records := make([]R, contenders/2)
	for i := range records {
		records[i] = prepare()
	}
	errs := race(len(records), func(i int) error { return call(canceledSoon(t), records[i]) })
	for i, err := range errs {
		requireNoAnswer(t, err)
		done := requireWhole(t, func() []bool { return signs(records[i]) })
		if err == nil {
			require.True(t, done, "the call returned no error but did not take effect")
		}
	}
}

// requireWhole reports whether the call has taken effect. It fails the test if only some of the
// signs are true. A call that returned an error may take effect a little later, while the signs are
// read. Therefore, if the signs differ, requireWhole reads the signs a second time.
func requireWhole(t *testing.T, signs func() []bool) bool {
	t.Helper()
	if done, agreed := unanimous(signs()); agreed {
		return done
	}
	done, agreed := unanimous(signs())
	require.True(t, agreed, "the call took effect in part")
	return done
}

func unanimous(signs []bool) (value, agreed bool) {
	for _, sign := range signs {
		if sign != signs[0] {
			return false, false
		}
	}
	return signs[0], true
}
