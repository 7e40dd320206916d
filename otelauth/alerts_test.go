package otelauth_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/sallyport-go/auth/internal/testenv"
)

// healthy has the series of an instance without a fault, as promtool reads them: one value a minute.
func healthy() map[string]string {
	series := map[string]string{
		`auth_feed_age_seconds{instance="a"}`: `2+0x60`,
		`auth_feed_accepts{instance="a"}`:     `1+0x60`,
		`auth_events_waiting{instance="a"}`:   `3+0x60`,
		store("ok"):                           `0+600x60`,
		store("failed"):                       `0+3x60`,
		signIns("accepted"):                   `0+60x60`,
		signIns("rejected"):                   `0+100x60`,
		tokens("hit"):                         `0+5000x60`,
		tokens("rejected"):                    `0+500x60`,
		github("200"):                         `0+60x60`,
		github("503"):                         `0+2x60`,
	}
	for _, name := range []string{"events_lost", "deliveries_failed", "limiter_failed", "slow_hashes_refused",
		"devices_refused", "feed_restarted", "unknown_signing_key", "github_token_unopened"} {
		series[faults(name)] = `0+0x60`
	}
	return series
}

func counted(metric, labels string) string { return metric + `{instance="a",` + labels + `}` }

func store(outcome string) string {
	return counted("auth_store_duration_seconds_count", `method="FindKey",outcome="`+outcome+`"`)
}

func signIns(outcome string) string {
	return counted("auth_sign_in_duration_seconds_count", `method="access_key",outcome="`+outcome+`"`)
}

func tokens(outcome string) string {
	return counted("auth_token_duration_seconds_count", `outcome="`+outcome+`"`)
}

func github(status string) string {
	return counted("auth_github_duration_seconds_count", `endpoint="user",status="`+status+`"`)
}

func faults(name string) string { return counted("auth_faults_total", `fault="`+name+`"`) }

// alertCases has a fault for each alert. If the values are empty, there is no such series.
var alertCases = []struct {
	name   string
	series map[string]string // besides those of healthy
	alert  string            // the only alert that fires; empty if none
}{
	{"healthy", nil, ""},
	{"the feed is not read", map[string]string{`auth_feed_age_seconds{instance="a"}`: `2+0x10 62+60x50`},
		"AuthFeedStale"},
	{"no token is accepted", map[string]string{`auth_feed_accepts{instance="a"}`: `1+0x10 0+0x50`},
		"AuthFeedStale"},
	{"nothing is measured", map[string]string{`auth_feed_accepts{instance="a"}`: "",
		`auth_feed_age_seconds{instance="a"}`: ""}, "AuthFeedStale"},
	{"the store fails", map[string]string{store("failed"): `0+30x60`}, "AuthStoreFailing"},
	{"sign-ins are rejected", map[string]string{signIns("rejected"): `0+400x60`}, "AuthSignInsRejected"},
	{"no sign-in is accepted", map[string]string{signIns("rejected"): `0+400x60`, signIns("accepted"): ""},
		"AuthSignInsRejected"},
	{"tokens are rejected", map[string]string{tokens("rejected"): `0+2500x60`}, "AuthTokensRejected"},
	{"GitHub fails", map[string]string{github("503"): `0+20x60`}, "AuthGitHubFailing"},
	{"an event is lost", map[string]string{faults("events_lost"): `0+0x50 1+0x10`}, "AuthEventsLost"},
	{"deliveries fail", map[string]string{faults("deliveries_failed"): `0+6x60`}, "AuthEventsStuck"},
	{"events wait", map[string]string{`auth_events_waiting{instance="a"}`: `3+0x10 600+0x50`},
		"AuthEventsStuck"},
	{"the limiter is away", map[string]string{faults("limiter_failed"): `0+0x30 5+5x30`},
		"AuthLimiterFailing"},
	{"the queue of slow hashes is full", map[string]string{faults("slow_hashes_refused"): `0+5x60`},
		"AuthSlowHashesRefused"},
	{"devices are refused", map[string]string{faults("devices_refused"): `0+5x60`}, "AuthDevicesRefused"},
	{"the feed began anew", map[string]string{faults("feed_restarted"): `0+0x50 1+0x10`},
		"AuthFeedRestarted"},
	{"signing keys differ", map[string]string{faults("unknown_signing_key"): `0+500x60`},
		"AuthSigningKeysDiffer"},
	{"a sealing key is missing", map[string]string{faults("github_token_unopened"): `0+0x50 1+0x10`},
		"AuthSealingKeyMissing"},
}

func TestEachAlertFiresForItsFaultAndForNothingElse(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		testenv.Skip(t, "there is no promtool: "+err.Error())
	}
	file, err := filepath.Abs("alerts.yaml")
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &rules))
	tested := map[string]bool{}
	var tests []any
	for _, c := range alertCases {
		tested[c.alert] = true
		series := healthy()
		maps.Copy(series, c.series)
		maps.DeleteFunc(series, func(_, values string) bool { return values == "" })
		var input, alerts []any
		for name, values := range series {
			input = append(input, map[string]string{"series": name, "values": values})
		}
		for _, rule := range rules.Groups[0].Rules {
			expected := []any{}
			if rule.Alert == c.alert {
				labels := maps.Clone(rule.Labels)
				if strings.Contains(rule.Expr, "by (instance)") && c.name != "nothing is measured" {
					labels["instance"] = "a"
				}
				summary := strings.ReplaceAll(rule.Annotations["summary"], "{{ $labels.instance }}",
					labels["instance"])
				expected = append(expected, map[string]any{"exp_labels": labels,
					"exp_annotations": map[string]string{"summary": summary}})
			}
			alerts = append(alerts, map[string]any{"eval_time": "58m", "alertname": rule.Alert,
				"exp_alerts": expected})
		}
		tests = append(tests, map[string]any{"name": c.name, "interval": "1m", "input_series": input,
			"alert_rule_test": alerts})
	}
	for _, rule := range rules.Groups[0].Rules {
		require.True(t, tested[rule.Alert], "no case has the alert %s", rule.Alert)
	}
	encoded, err := yaml.Marshal(map[string]any{"rule_files": []string{file}, "evaluation_interval": "1m",
		"tests": tests})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tests.yaml")
	require.NoError(t, os.WriteFile(path, encoded, 0o600))
	out, err := exec.Command(promtool, "test", "rules", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
