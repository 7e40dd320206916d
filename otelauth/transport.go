package otelauth

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Transport returns a transport for the HTTPClient of auth.GitHubConfig. The returned transport
// measures every call to GitHub, and adds a span for the call. A nil base means
// http.DefaultTransport. The name of the span contains the endpoint, but no part of the path or
// query that could identify a user.
func (t *Telemetry) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{t, base}
}

type transport struct {
	telemetry *Telemetry
	base      http.RoundTripper
}

// endpoints matches the paths that the library calls. On GitHub Enterprise Server, the paths begin
// with /api/v3.
var endpoints = regexp.MustCompile(`^(?:/api/v3)?(/login/oauth/access_token|/user/emails|/user/memberships/orgs|/user/teams|/user|/applications/[^/]+/token)$`)

var clientID = regexp.MustCompile(`/applications/[^/]+/`)

func endpointOf(path string) string {
	if found := endpoints.FindStringSubmatch(path); found != nil {
		return clientID.ReplaceAllString(found[1], "/applications/{client_id}/")
	}
	return "other" // a call that the host makes, not the library
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	endpoint := endpointOf(r.URL.Path)
	ctx, span := t.telemetry.tracer.Start(r.Context(), "github "+r.Method+" "+endpoint,
		trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	began := time.Now()
	response, err := t.base.RoundTrip(r.WithContext(ctx))
	status := "none"
	switch {
	case err == nil:
		status = strconv.Itoa(response.StatusCode)
	case errors.Is(err, context.Canceled):
		status = "canceled" // no caller waited for the response
	}
	if status == "none" || status >= "500" && status <= "599" {
		span.SetStatus(codes.Error, "GitHub did not answer")
	}
	attributes := []attribute.KeyValue{attribute.String("endpoint", endpoint),
		attribute.String("status", status)}
	span.SetAttributes(attributes...)
	t.telemetry.github.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(attributes...))
	return response, err
}
