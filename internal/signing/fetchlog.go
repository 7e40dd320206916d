package signing

import (
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
)

// fetchLog writes log lines about fetches of public keys. It writes a line when fetches begin to fail,
// when they succeed again, and when the ignored keys of the set change. It writes no line for a fetch
// with the same result as the fetch before. A fetchLog has no lock, because only one fetch runs at a
// time.
type fetchLog struct {
	log *slog.Logger
	url string // without the query, which can contain a secret

	problem  string    // the message of the last line about a failure; empty if the last fetch succeeded
	cause    string    // the error of the last failure
	failures int       // number of failed fetches since the last successful one
	since    time.Time // when the first of these fetches began
	ignored  string    // the ignored keys of the last fetched set
}

// withoutQuery returns the URL without its query and its fragment.
func withoutQuery(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the URL"
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	return u.String()
}

// isNo reports whether the error of a fetch means that the issuer has no keys, or that its keys must
// not be used. Any other error means that the fetch failed.
func isNo(err error) bool { return errors.Is(err, errNoKeys) || errors.Is(err, errSecretPublished) }

// report logs the result of a fetch that began at the given time. The argument used is the ring that
// was in use during the fetch, or nil. A panic of the host's logger must not end the process, so report
// recovers it.
func (l *fetchLog) report(began time.Time, fetched *Ring, err error, used *Ring) {
	defer callback.Recover("RemoteVerifierConfig.Logger", func(error) {})
	if err != nil {
		l.reportFailure(began, err, used)
		return
	}
	if l.failures > 0 {
		l.log.Info("auth: the public keys can be fetched again", "url", l.url, "failed_fetches", l.failures,
			"failing_for", began.Sub(l.since).Round(time.Second), "last_error", l.cause)
		l.failures, l.problem, l.cause = 0, "", ""
	}
	if l.ignored != fetched.ignored {
		l.ignored = fetched.ignored
		if l.ignored != "" {
			l.log.Warn("auth: the JWK set has keys that are not used", "url", l.url, "keys", l.ignored)
		}
	}
}

func (l *fetchLog) reportFailure(began time.Time, err error, used *Ring) {
	said, cause := l.problem, l.cause
	if l.failures == 0 {
		l.since = began
	}
	l.failures, l.cause = l.failures+1, err.Error()
	switch {
	case isNo(err):
		l.problem = "auth: the issuer has no usable public key: no token is accepted"
	case used != nil && len(used.byID) > 0:
		l.problem = "auth: the public keys cannot be fetched: the last fetched keys are used for a day"
	default:
		l.problem = "auth: the public keys cannot be fetched: no token is accepted"
	}
	// The causes of an outage can alternate, but a set without usable keys stays until the issuer
	// changes it.
	if said != l.problem || isNo(err) && cause != l.cause {
		l.log.Error(l.problem, "url", l.url, "error", err)
	}
}
