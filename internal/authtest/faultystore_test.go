package authtest_test

import (
	"reflect"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// withoutTrail is a store without an audit trail.
type withoutTrail struct{ auth.Store }

// accountsWithoutTrail is a store without users and without an audit trail.
type accountsWithoutTrail struct{ auth.AccountStore }

func TestFaultyStoreFailsEveryMethod(t *testing.T) {
	t.Parallel()
	away := func(string) error { return authtest.ErrStoreAway }
	store := authtest.FaultyStore(memstore.New(), away)
	accounts := authtest.FaultyAccounts(memstore.NewAccounts(), away)
	requireEveryMethodFails[auth.Store](t, store)
	requireEveryMethodFails[auth.EventStore](t, store)
	requireEveryMethodFails[auth.DeviceStore](t, store)
	requireEveryMethodFails[auth.AccountStore](t, accounts)
	requireEveryMethodFails[auth.EventStore](t, accounts)
	requireEveryMethodFails[auth.DeviceStore](t, accounts)
}

// requireEveryMethodFails calls each method of the interface with zero values and the context of t.
func requireEveryMethodFails[role any](t *testing.T, store any) {
	t.Helper()
	called := reflect.ValueOf(store)
	methods := reflect.TypeFor[role]()
	require.True(t, called.Type().Implements(methods))
	for i := range methods.NumMethod() {
		method := called.MethodByName(methods.Method(i).Name)
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for n := 1; n < method.Type().NumIn(); n++ {
			args = append(args, reflect.Zero(method.Type().In(n)))
		}
		results := method.Call(args)
		require.Equal(t, authtest.ErrStoreAway, results[len(results)-1].Interface(),
			methods.Method(i).Name)
	}
}

func TestFaultyStoreHasATrailAndDevicesOnlyIfTheStoreDoes(t *testing.T) {
	t.Parallel()
	well := func(string) error { return nil }
	_, has := authtest.FaultyStore(withoutTrail{memstore.New()}, well).(auth.EventStore)
	require.False(t, has)
	_, has = authtest.FaultyAccounts(accountsWithoutTrail{memstore.NewAccounts()},
		well).(auth.EventStore)
	require.False(t, has)
	_, has = authtest.FaultyAccounts(memstore.NewAccounts(), well).(auth.UserStore)
	require.False(t, has, "a faulty store of accounts must not keep users")
	_, has = authtest.FaultyStore(withoutTrail{memstore.New()}, well).(auth.DeviceStore)
	require.False(t, has)
	_, has = authtest.FaultyAccounts(accountsWithoutTrail{memstore.NewAccounts()}, well).(auth.DeviceStore)
	require.False(t, has)
}
