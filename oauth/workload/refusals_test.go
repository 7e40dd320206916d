package workload_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

// refusals are the faults with which an issuer, or a proxy in front of it, refuses to return keys.
var refusals = map[workloadtest.Fault]string{workloadtest.Gone: "status 404",
	workloadtest.Forbidden: "status 403", workloadtest.Redirect: "status 302"}

// A firewall in front of the issuer refuses a few requests. No job fails because of that.
func TestAFewRefusalsForgetNoKeys(t *testing.T) {
	t.Parallel()
	for fault := range refusals {
		f := newFixture(t)
		_, err := f.verify(f.sign())
		require.NoError(t, err)
		for range 3 { // a success in between begins the count anew
			f.issuer.SetFault(fault)
			f.clock.Advance(15 * time.Minute)
			for range 10 {
				_, err = f.verify(f.sign())
				require.NoError(t, err)
				f.clock.Advance(90*time.Second - 1)
			}
			_, err = f.verify(f.sign())
			require.NoError(t, err)
			f.issuer.SetFault(workloadtest.Healthy)
			f.clock.Advance(10 * time.Second)
			_, err = f.verify(f.sign())
			require.NoError(t, err)
		}
		f.issuer.SetFault(fault)
		f.clock.Advance(15 * time.Minute)
		for range 2 { // two refusals are not enough, however long they take
			_, err = f.verify(f.sign())
			require.NoError(t, err)
			f.clock.Advance(time.Hour)
		}
	}
}

// The issuer says again and again that it has no keys, so an old one may be a stolen one.
func TestKeysAreForgottenIfTheIssuerKeepsRefusingToReturnAny(t *testing.T) {
	t.Parallel()
	for fault, reason := range refusals {
		var log bytes.Buffer
		f := newFixture(t, func(_ *fixture, cfg *workload.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		_, err := f.verify(f.sign())
		require.NoError(t, err)
		f.issuer.SetFault(fault)
		f.clock.Advance(15 * time.Minute)
		_, err = f.verify(f.sign())
		require.NoError(t, err)
		f.issuer.SetFault(workloadtest.Down) // an outage in between ends nothing
		f.clock.Advance(5 * time.Minute)
		_, err = f.verify(f.sign())
		require.NoError(t, err)
		f.issuer.SetFault(fault)
		f.clock.Advance(10*time.Minute - 1)
		_, err = f.verify(f.sign())
		require.NoError(t, err)
		require.NotContains(t, log.String(), "keeps refusing")
		f.clock.Advance(10 * time.Second)
		f.requireUnavailable(reason, f.sign())
		f.issuer.SetFault(workloadtest.Down)
		f.clock.Advance(10 * time.Second)
		f.requireUnavailable("status 503", f.sign())
		f.issuer.SetFault(fault)
		f.clock.Advance(10 * time.Second)
		f.requireUnavailable(reason, f.sign())
		require.Equal(t, 1, strings.Count(log.String(), "keeps refusing"))
		require.Contains(t, log.String(), "refusals=3")

		f.issuer.SetFault(workloadtest.Healthy)
		f.clock.Advance(10 * time.Second)
		_, err = f.verify(f.sign())
		require.NoError(t, err)
	}
}
