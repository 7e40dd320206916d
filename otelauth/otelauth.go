// Package otelauth uses OpenTelemetry to measure a service that uses package auth. It records the
// durations and outcomes of sign-ins, token verifications, calls of the store and calls to GitHub.
// It also records the age of the revocation state and the faults of the instance, and adds a span for each
// call of the store and each call to GitHub:
//
//	telemetry, err := otelauth.New(otelauth.Options{})
//	…
//	github.HTTPClient = &http.Client{Transport: telemetry.Transport(nil)}
//	svc, err := auth.New(telemetry.Store(store), auth.Config{Hooks: telemetry.Hooks(), GitHub: &github, …})
//	…
//	_, err = telemetry.Observe(svc)
//
// Attributes never identify a user. The directory of the package also has grafana-dashboard.json
// for Grafana and alerts.yaml for Prometheus.
//
// The package is a separate module, so that a service without OpenTelemetry does not depend on it.
package otelauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport-go/auth"
)

const scope = "github.com/sallyport-go/auth/otelauth"

// Options configures where measurements and spans go. A nil provider means OpenTelemetry's global
// provider.
type Options struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Telemetry records measurements and spans. Create one with [New]. It is safe for concurrent use.
type Telemetry struct {
	tracer trace.Tracer
	meter  metric.Meter

	signIns, tokens, store, github metric.Float64Histogram
}

// New returns a Telemetry. It returns an error if the meter provider cannot create a histogram.
func New(options Options) (*Telemetry, error) {
	if options.TracerProvider == nil {
		options.TracerProvider = otel.GetTracerProvider()
	}
	if options.MeterProvider == nil {
		options.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{tracer: options.TracerProvider.Tracer(scope),
		meter: options.MeterProvider.Meter(scope)}
	var errs []error
	for _, h := range []struct {
		into              *metric.Float64Histogram
		name, description string
		buckets           []float64
	}{
		{&t.signIns, "auth.sign_in.duration", "Attempts to sign in, by method and outcome.",
			upToSeconds},
		{&t.tokens, "auth.token.duration", "Bearer tokens that were verified, by outcome.",
			fromMicroseconds},
		{&t.store, "auth.store.duration", "Calls of the store, by method and outcome.", upToSeconds},
		{&t.github, "auth.github.duration", "Calls of GitHub, by endpoint and status.", upToSeconds},
	} {
		var err error
		*h.into, err = t.meter.Float64Histogram(h.name, metric.WithUnit("s"),
			metric.WithDescription(h.description),
			metric.WithExplicitBucketBoundaries(h.buckets...))
		errs = append(errs, err)
	}
	return t, errors.Join(errs...)
}

var (
	upToSeconds      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	fromMicroseconds = []float64{1e-6, 1e-5, 1e-4, 1e-3, .01, .1, 1}
)

// Hooks returns hooks for auth.Config. The hooks measure sign-ins and token verifications.
func (t *Telemetry) Hooks() auth.Hooks {
	// The attributes of each outcome are created in advance, because every request verifies a
	// token.
	outcomes := map[string][]metric.RecordOption{}
	for _, o := range []string{accepted, hit, rejected, throttled, failed, canceled} {
		outcomes[o] =
			[]metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", o)))}
	}
	return auth.Hooks{
		SignIn: func(ctx context.Context, method auth.SignInMethod, err error, took time.Duration) {
			t.signIns.Record(ctx, took.Seconds(), metric.WithAttributes(
				attribute.String("method", string(method)), attribute.String("outcome",
					outcomeOf(err))))
		},
		Verify: func(ctx context.Context, err error, cached bool, took time.Duration) {
			outcome := outcomeOf(err)
			if outcome == accepted && cached {
				outcome = hit
			}
			t.tokens.Record(ctx, took.Seconds(), outcomes[outcome]...)
		},
	}
}

// The values of the attribute "outcome".
const (
	accepted  = "accepted"
	hit       = "hit" // accepted from the token cache
	rejected  = "rejected"
	throttled = "throttled"
	failed    = "failed"   // the store or GitHub did not answer
	canceled  = "canceled" // the client or the host canceled the context
)

// outcomeOf returns the outcome for an error of package auth.
func outcomeOf(err error) string {
	status, _ := auth.ErrorStatus(err)
	switch {
	case err == nil:
		return accepted
	case status == http.StatusTooManyRequests:
		return throttled
	case status < http.StatusInternalServerError:
		return rejected
	case errors.Is(err, context.Canceled):
		return canceled
	}
	return failed
}

// Observe adds these instruments for the service:
//   - The gauge auth.feed.age is the age of the revocation state in seconds, or -1 until the revocation feed
//     has been read.
//   - The gauge auth.feed.accepts is 1 while the revocation state is recent enough to accept tokens, and 0
//     if not.
//   - The gauge auth.events.waiting is the number of events that wait for OnEvent.
//   - The counter auth.faults has the counts of [auth.Stats], with the attribute "fault".
//
// To remove the instruments, call Unregister on the returned registration.
func (t *Telemetry) Observe(svc *auth.Service) (metric.Registration, error) {
	age, err1 := t.meter.Float64ObservableGauge("auth.feed.age", metric.WithUnit("s"),
		metric.WithDescription("Age of this instance's revocation state; -1 until the feed has been read."))
	accepts, err2 := t.meter.Int64ObservableGauge("auth.feed.accepts",
		metric.WithDescription("1 while the revocation state is recent enough to accept tokens, "+
			"otherwise 0."))
	waiting, err3 := t.meter.Int64ObservableGauge("auth.events.waiting",
		metric.WithDescription("Events that wait for OnEvent."))
	faults, err4 := t.meter.Int64ObservableCounter("auth.faults",
		metric.WithDescription("Faults of this instance, by kind. All are zero on a healthy instance."))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		old, good := svc.FeedAge()
		seconds, one := -1.0, int64(0)
		if old < 24*365*time.Hour {
			seconds = old.Seconds()
		}
		if good {
			one = 1
		}
		o.ObserveFloat64(age, seconds)
		o.ObserveInt64(accepts, one)
		stats := svc.Stats()
		o.ObserveInt64(waiting, int64(stats.EventsWaiting))
		for fault, count := range faultsOf(stats) {
			o.ObserveInt64(faults, count, metric.WithAttributes(attribute.String("fault", fault)))
		}
		return nil
	}, age, accepts, waiting, faults)
}

// faultsOf returns the counts by the value of the attribute "fault".
func faultsOf(s auth.Stats) map[string]int64 {
	return map[string]int64{
		"events_lost":           s.EventsLost,
		"deliveries_failed":     s.DeliveriesFailed,
		"limiter_failed":        s.LimiterFailures,
		"slow_hashes_refused":   s.SlowHashesRefused,
		"devices_refused":       s.DevicesRefused,
		"feed_restarted":        s.FeedRestarts,
		"unknown_signing_key":   s.UnknownKeyTokens,
		"github_token_unopened": s.UnopenedGitHubTokens,
	}
}
