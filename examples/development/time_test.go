package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

func TestATokenExpiresAfterTwelveHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc, api := newService(t)
		alice := newUser(t, svc, auth.UserParams{Username: "alice"}, auth.LoginOptions{})
		time.Sleep(12*time.Hour - time.Second) // moves the clock of the test, and returns at once
		require.Equal(t, http.StatusOK, send(api, "GET", "/reports", alice).Code)
		time.Sleep(time.Second)
		require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", alice).Code)
	})
}

func TestATokenExpiresByTheClockOfTheService(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64 // by how much the clock of the service is ahead
	cfg := newConfig(t)
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	svc, api, err := newAPI(memstore.New(), cfg)
	require.NoError(t, err)
	alice := newUser(t, svc, auth.UserParams{Username: "alice"}, auth.LoginOptions{})
	require.Equal(t, http.StatusOK, send(api, "GET", "/reports", alice).Code)
	passed.Store(int64(13 * time.Hour))
	require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", alice).Code)
}

func TestADisabledUserIsOutAtOnce(t *testing.T) {
	t.Parallel()
	svc, api := newService(t)
	made, err := svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	token, err := svc.SignIn(t.Context(), made.User.ID, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, send(api, "GET", "/reports", token.Bearer.Reveal()).Code)

	inactive := auth.UserChange{IsActive: new(false)}
	_, err = svc.UpdateUser(t.Context(), auth.ByHost("test"), made.User.ID, inactive)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", token.Bearer.Reveal()).Code)
}

func TestAnotherInstanceLearnsOfASignOutWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, cfg := memstore.New(), newConfig(t)
		first, api, err := newAPI(store, cfg)
		require.NoError(t, err)
		second, otherAPI, err := newAPI(store, cfg)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		for _, svc := range []*auth.Service{first, second} {
			go svc.Run(ctx)
		}
		alice := newUser(t, first, auth.UserParams{Username: "alice"}, auth.LoginOptions{})
		require.Equal(t, http.StatusOK, send(otherAPI, "GET", "/reports", alice).Code)

		require.Equal(t, http.StatusOK, send(api, "POST", "/auth/logout", alice).Code)
		require.Equal(t, http.StatusUnauthorized, send(api, "GET", "/reports", alice).Code)
		time.Sleep(5 * time.Second)
		require.Equal(t, http.StatusUnauthorized, send(otherAPI, "GET", "/reports", alice).Code)
		stop() // otherwise the goroutines of Run would outlive the test
	})
}
