package otelauth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gopkg.in/yaml.v3"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/otelauth"
	"github.com/sallyport-go/auth/storetest"
)

// A measured store must satisfy the contract of a store, like the store that it measures.
func TestMeasuredStoreSatisfiesTheContract(t *testing.T) {
	t.Parallel()
	telemetry, err := otelauth.New(otelauth.Options{})
	require.NoError(t, err)
	storetest.Run(t, func(*testing.T) auth.Store { return telemetry.Store(memstore.New()) })
	storetest.RunAccounts(t, func(*testing.T) auth.AccountStore {
		return telemetry.AccountStore(memstore.NewAccounts())
	})
	require.Implements(t, (*auth.Store)(nil), telemetry.AccountStore(memstore.New()),
		"auth.NewWithUsers must be able to refuse the store")
}

// fixture is a service with telemetry, and the recorded spans and metrics.
type fixture struct {
	svc       *auth.Service
	telemetry *otelauth.Telemetry
	spans     *tracetest.SpanRecorder
	registry  *promclient.Registry
	fake      *githubtest.Server
	pair      auth.KeyPair
	user      auth.User
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{spans: tracetest.NewSpanRecorder(), registry: promclient.NewRegistry()}
	exporter, err := prometheus.New(prometheus.WithRegisterer(f.registry))
	require.NoError(t, err)
	telemetry, err := otelauth.New(otelauth.Options{
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(f.spans)),
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(exporter)),
	})
	require.NoError(t, err)
	f.telemetry = telemetry
	f.fake, err = githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	require.NoError(t, err)
	t.Cleanup(func() { f.fake.Close() })
	id, secret := f.fake.Client()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	seal, err := auth.NewSymmetricKey("seal", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	f.svc, err = auth.New(telemetry.Store(memstore.New()), auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		SealingKeys: []auth.SymmetricKey{seal},
		Hooks:       telemetry.Hooks(), Logger: slog.New(slog.DiscardHandler),
		GitHub: &auth.GitHubConfig{
			ClientID: id, ClientSecret: auth.NewSecret(secret),
			CallbackURL: "http://127.0.0.1:8080/api/v1/auth/github/callback",
			BaseURL:     f.fake.URL(), APIURL: f.fake.URL() + "/api/v3", Host: "githubtest.invalid",
			HTTPClient: &http.Client{Transport: telemetry.Transport(nil)},
		},
	})
	require.NoError(t, err)
	registration, err := telemetry.Observe(f.svc)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registration.Unregister()) })
	made, err := f.svc.Register(t.Context(), auth.ByHost("setup"), auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	f.pair, f.user = made.Pair, made.User
	return f
}

func (f *fixture) send(
	t *testing.T, method, path, body, token string, cookies ...*http.Cookie,
) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	f.svc.Handler().ServeHTTP(w, r)
	return w
}

// use performs every operation that is measured. It returns the secrets that it used.
func (f *fixture) use(t *testing.T) []string {
	t.Helper()
	login := fmt.Sprintf(`{"access_key":%q,"access_secret":%q}`, f.pair.AccessKey,
		f.pair.AccessSecret.Reveal())
	var answer struct {
		Token   string `json:"token"`
		AuthURL string `json:"auth_url"`
	}
	require.NoError(t, json.Unmarshal(f.send(t, "POST", "/auth/users/login", login,
		"").Body.Bytes(), &answer))
	for range 2 {
		require.Equal(t, 200, f.send(t, "GET", "/auth/user", "", answer.Token).Code)
	}
	require.Equal(t, 401, f.send(t, "GET", "/auth/user", "", answer.Token+"x").Code)
	for range 21 {
		f.send(t, "POST", "/auth/users/login", `{"access_key":"x","access_secret":"canary-secret"}`, "")
	}

	begun := f.send(t, "GET", "/api/v1/auth/github/login-user", "", "")
	require.NoError(t, json.Unmarshal(begun.Body.Bytes(), &answer))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Get(answer.AuthURL)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, 302, response.StatusCode, answer.AuthURL)
	callback, err := response.Location()
	require.NoError(t, err)
	done := f.send(t, "GET", callback.RequestURI(), "", "", begun.Result().Cookies()...)
	require.Equal(t, 200, done.Code, done.Body)
	return []string{answer.Token, f.pair.AccessSecret.Reveal(), callback.Query().Get("code"),
		callback.Query().Get("state"), "canary"}
}

// scrape returns the metrics as Prometheus reads them.
func (f *fixture) scrape(t *testing.T) string {
	t.Helper()
	families, err := f.registry.Gather()
	require.NoError(t, err)
	var text strings.Builder
	for _, family := range families {
		for _, m := range family.GetMetric() {
			fmt.Fprintln(&text, family.GetName(), m.String())
		}
	}
	return text.String()
}

func TestEverythingIsMeasuredWithoutSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	secrets := f.use(t)
	metrics := f.scrape(t)
	for _, want := range []string{
		`auth_sign_in_duration_seconds .*"access_key".*"accepted"`, `auth_sign_in_duration_seconds .*"access_key".*"rejected"`,
		`auth_sign_in_duration_seconds .*"access_key".*"throttled"`, `auth_sign_in_duration_seconds .*"github".*"accepted"`,
		`auth_token_duration_seconds .*"accepted"`, `auth_token_duration_seconds .*"hit"`, `auth_token_duration_seconds .*"rejected"`,
		`auth_store_duration_seconds .*"FindKey".*"ok"`, `auth_store_duration_seconds .*"FindGitHubLink".*"answer"`,
		`auth_github_duration_seconds .*"/login/oauth/access_token".*"200"`, `auth_github_duration_seconds .*"/user/emails".*"200"`,
		`auth_feed_age_seconds `, `auth_feed_accepts `,
	} {
		require.Regexp(t, want, metrics)
	}

	var spans []string
	for _, span := range f.spans.Ended() {
		spans = append(spans, fmt.Sprintf("%s %v %v", span.Name(), span.Attributes(), span.Status()))
	}
	all := metrics + strings.Join(spans, "\n")
	for _, name := range []string{"auth.store.CreateSession", "auth.store.SignInGitHub",
		"github POST /login/oauth/access_token", "github GET /user"} {
		require.Contains(t, all, name)
	}
	for _, secret := range append(secrets, f.user.ID, f.pair.AccessKey) {
		require.NotEmpty(t, secret)
		require.NotContains(t, all, secret)
	}
}

func TestFailingStoreCallIsAFailedSpan(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	telemetry, err := otelauth.New(otelauth.Options{
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(spans)),
	})
	require.NoError(t, err)
	store := telemetry.Store(memstore.New())
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	_, _, err = store.FindKey(ctx, "x")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, _, err = store.FindKey(t.Context(), "x")
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, "Error", spans.Ended()[0].Status().Code.String())
	require.Equal(t, "Unset", spans.Ended()[1].Status().Code.String(),
		"ErrNotFound is an answer, not a failure")
}

func TestUnavailableGitHubIsAFailedSpan(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	telemetry, err := otelauth.New(otelauth.Options{
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(spans)),
	})
	require.NoError(t, err)
	client := &http.Client{Transport: telemetry.Transport(nil), Timeout: 5 * time.Second}
	_, err = client.Get("http://127.0.0.1:1/applications/canary-id/token?access_token=canary")
	require.Error(t, err)
	span := spans.Ended()[0]
	require.Equal(t, "github GET /applications/{client_id}/token", span.Name())
	require.NotContains(t, fmt.Sprint(span.Attributes(), span.Status()), "canary")
	require.Equal(t, "Error", span.Status().Code.String())
	_, err = client.Get("http://127.0.0.1:1/repos/canary/canary")
	require.Error(t, err)
	require.Equal(t, "github GET other", spans.Ended()[1].Name())
}

var metricName = regexp.MustCompile(`\bauth_[a-z_]+`)

// A client that hangs up must not look like a failure of the store or of GitHub.
func TestCallCanceledByTheClientIsNotAFailure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.svc.Login(ctx, f.pair, auth.LoginOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = f.svc.Tokens().Verify(ctx, "x.y.z")
	require.Error(t, err)
	request, err := http.NewRequestWithContext(ctx, "GET", f.fake.URL()+"/api/v3/user", nil)
	require.NoError(t, err)
	_, err = f.telemetry.Transport(nil).RoundTrip(request)
	require.ErrorIs(t, err, context.Canceled)
	request, err = http.NewRequestWithContext(t.Context(), "GET",
		f.fake.URL()+"/repos/octocat/user", nil)
	require.NoError(t, err)
	response, err := f.telemetry.Transport(nil).RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	scraped := f.scrape(t)
	require.NotRegexp(t, `"(failed|none)"`, scraped)
	for _, want := range []string{
		`auth_store_duration_seconds .*"FindKey".*"canceled"`, `auth_sign_in_duration_seconds .*"canceled"`,
		`auth_github_duration_seconds .*"/user".*"canceled"`, `auth_github_duration_seconds .*"other"`,
	} {
		require.Regexp(t, want, scraped)
	}
}

// The dashboard and the alerts must use all metrics, and no metric that does not exist.
func TestDashboardAndAlertsUseExactlyTheMeasuredMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.use(t)
	measured := metricName.FindAllString(f.scrape(t), -1)

	var expressions []string
	var dashboard struct {
		Title  string
		Panels []struct {
			Title, Description string
			Targets            []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("grafana-dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.NotEmpty(t, dashboard.Title)
	for _, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Title)
		require.NotEmpty(t, panel.Description, panel.Title)
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For string
				Annotations      map[string]string
			}
		}
	}
	text, err = os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &rules))
	page, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	require.Len(t, rules.Groups[0].Rules, 13)
	for _, rule := range rules.Groups[0].Rules {
		expressions = append(expressions, rule.Expr)
		require.NotEmpty(t, rule.Annotations["summary"])
		require.Contains(t, string(page), "`"+rule.Alert+"`")
		if rule.For != "" {
			_, err := time.ParseDuration(rule.For)
			require.NoError(t, err)
		}
	}

	require.Greater(t, len(expressions), 10)
	for _, expression := range expressions {
		names := metricName.FindAllString(expression, -1)
		require.NotEmpty(t, names, expression)
		for _, name := range names {
			name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			require.Contains(t, measured, name, expression)
		}
		require.Equal(t, strings.Count(expression, "("), strings.Count(expression, ")"), expression)
	}
	slices.Sort(measured)
	for _, name := range slices.Compact(measured) {
		require.Contains(t, strings.Join(expressions, " "), name,
			"neither the dashboard nor an alert uses this metric")
	}
}

// Each count of auth.Stats is a fault, and docs/telemetry.md names both.
func TestEveryCountOfTheStatsIsAFaultThatTheDocumentationNames(t *testing.T) {
	t.Parallel()
	metrics := newFixture(t).scrape(t)
	page, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	documented := map[string]string{} // faults by field
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([A-Za-z]+)` \\|$")
	for _, row := range row.FindAllStringSubmatch(string(page), -1) {
		documented[row[2]] = row[1]
	}
	stats := reflect.TypeFor[auth.Stats]()
	for i := range stats.NumField() {
		if field := stats.Field(i); field.Type.Kind() == reflect.Int64 {
			require.Contains(t, documented, field.Name)
			require.Regexp(t, `auth_faults_total .*"`+documented[field.Name]+`"`, metrics)
			delete(documented, field.Name)
		}
	}
	require.Empty(t, documented)
	require.Contains(t, metrics, "auth_events_waiting ")
}
