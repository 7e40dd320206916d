package otelauth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/otelauth"
)

// check is the method CheckWritable of a store.
type check func() error

func (c check) CheckWritable(context.Context) error { return c() }

// A service finds out what a store can do by its type. So a wrapper must have what its store has, and no
// more.
func TestAMeasuredStoreHasTheOptionalMethodsOfItsStore(t *testing.T) {
	t.Parallel()
	telemetry, err := otelauth.New(otelauth.Options{})
	require.NoError(t, err)
	whole, accounts := memstore.New(), memstore.NewAccounts()
	type plain struct{ auth.Store }
	type plainAccounts struct{ auth.AccountStore }
	for name, store := range map[string]auth.AccountStore{
		"nothing": plain{whole}, "everything": whole,
		"events": struct {
			auth.Store
			auth.EventStore
		}{whole, whole},
		"devices": struct {
			auth.Store
			auth.DeviceStore
		}{whole, whole},
		"accounts": plainAccounts{accounts}, "accounts with everything": accounts,
		"accounts with events": struct {
			auth.AccountStore
			auth.EventStore
		}{accounts, accounts},
		"accounts with devices": struct {
			auth.AccountStore
			auth.DeviceStore
		}{accounts, accounts},
	} {
		measured := telemetry.AccountStore(store)
		_, wantUsers := store.(auth.UserStore)
		_, hasUsers := measured.(auth.UserStore)
		require.Equal(t, wantUsers, hasUsers, name)
		_, wantEvents := store.(auth.EventStore)
		_, hasEvents := measured.(auth.EventStore)
		require.Equal(t, wantEvents, hasEvents, name)
		_, wantDevices := store.(auth.DeviceStore)
		_, hasDevices := measured.(auth.DeviceStore)
		require.Equal(t, wantDevices, hasDevices, name)
	}
}

// clock is the method DatabaseTime of a store.
type clock time.Time

func (c clock) DatabaseTime(context.Context) (time.Time, error) { return time.Time(c), nil }

func TestPruneComparesTheClocksOfAMeasuredStore(t *testing.T) {
	t.Parallel()
	telemetry, err := otelauth.New(otelauth.Options{})
	require.NoError(t, err)
	type clocked struct {
		auth.Store
		clock
	}
	for store, fails := range map[auth.Store]bool{
		memstore.New(): false, clocked{memstore.New(), clock(time.Now())}: false,
		clocked{memstore.New(), clock(time.Now().Add(-time.Hour))}: true,
	} {
		for name, measured := range map[string]auth.Store{
			"once": telemetry.Store(store), "twice": telemetry.Store(telemetry.Store(store)),
		} {
			_, err := newService(t, measured).Prune(t.Context())
			require.Equal(t, fails, err != nil, "%s: %v", name, err)
		}
	}
}

func TestReadinessSaysWhetherAMeasuredStoreAcceptsWrites(t *testing.T) {
	t.Parallel()
	telemetry, err := otelauth.New(otelauth.Options{})
	require.NoError(t, err)
	type checked struct {
		auth.Store
		check
	}
	for want, store := range map[string]auth.Store{
		`{"status":"ok"}`:                       memstore.New(),
		`{"status":"ok","store_writable":true}`: checked{memstore.New(), func() error { return nil }},
		`{"status":"ok","store_writable":false}`: checked{memstore.New(),
			func() error { return errors.New("the disk is full") }},
	} {
		for name, measured := range map[string]auth.Store{
			"once": telemetry.Store(store), "twice": telemetry.Store(telemetry.Store(store)),
		} {
			svc := newService(t, measured)
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody)
			svc.Handler(auth.GroupHealth).ServeHTTP(w, r)
			require.Equal(t, fmt.Sprintln(want), w.Body.String(), name)
		}
	}
}

// newService returns a service on the store, which logs nothing.
func newService(t *testing.T, store auth.Store) *auth.Service {
	t.Helper()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{Issuer: "https://api.example.com",
		SigningKeys: []auth.SigningKey{key}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return svc
}
