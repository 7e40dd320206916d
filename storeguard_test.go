package auth

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// In this test, every method of a store panics, because the stores embed a nil interface.
func TestAPanicInAnyMethodOfAStoreIsAnErrorThatSaysWhere(t *testing.T) {
	t.Parallel()
	accounts, users := struct{ AccountStore }{}, struct{ UserStore }{}
	for guard, role := range map[any]reflect.Type{
		guardedUsers{users}:                     reflect.TypeFor[UserStore](),
		guardedCredentials{accounts}:            reflect.TypeFor[CredentialStore](),
		guardedSessions{accounts}:               reflect.TypeFor[SessionStore](),
		guardedGitHub{accounts}:                 reflect.TypeFor[GitHubStore](),
		guardAccounts(accounts):                 reflect.TypeFor[AccountStore](),
		guardedDevices{struct{ DeviceStore }{}}: reflect.TypeFor[DeviceStore](),
	} {
		for method := range role.Methods() {
			call := reflect.ValueOf(guard).MethodByName(method.Name)
			arguments := []reflect.Value{reflect.ValueOf(context.Background())}
			for i := 1; i < call.Type().NumIn(); i++ {
				arguments = append(arguments, reflect.Zero(call.Type().In(i)))
			}
			var results []reflect.Value
			require.NotPanics(t, func() { results = call.Call(arguments) }, method.Name)
			err, _ := results[len(results)-1].Interface().(error)
			require.ErrorContains(t, err, "auth: the store's "+method.Name+" panicked: ")
			status, _ := ErrorStatus(err)
			require.Equal(t, 503, status)
		}
	}
	err := guardAccounts(panickingPing{}).Ping(t.Context())
	require.ErrorContains(t, err, "the store's Ping panicked: oops (at ")
	require.ErrorContains(t, err, "storeguard_test.go:")
}

type panickingPing struct{ AccountStore }

func (panickingPing) Ping(context.Context) error { panic("oops") }
