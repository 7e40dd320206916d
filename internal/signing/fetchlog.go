package signing

import (
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/keyset"
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

// hasNoKeys reports whether the error of a fetch means that the issuer has returned a set from which no
// key may be used. Any other error means that the issuer has refused the fetch, or that the fetch failed.
func hasNoKeys(err error) bool {
	return errors.Is(err, errNoKeys) || errors.Is(err, errSecretPublished)
}

// report logs the result of a fetch that began at the given time. The argument used is the ring that
// was in use during the fetch, or nil. The argument refusals includes this fetch. A panic of the host's
// logger must not end the process, so report recovers it.
func (l *fetchLog) report(
	began time.Time, fetched *Ring, err error, used *Ring, refusals keyset.Refusals,
) {
	defer callback.Recover("RemoteVerifierConfig.Logger", func(error) {})
	if err != nil {
		l.reportFailure(began, err, used, refusals)
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

// reportFailure logs a fetch without keys. Refusals and other failures can alternate. The message then stays
// that of the refusals, because a failure does not end them.
func (l *fetchLog) reportFailure(began time.Time, err error, used *Ring, refusals keyset.Refusals) {
	said, cause := l.problem, l.cause
	if l.failures == 0 {
		l.since = began
	}
	l.failures, l.cause = l.failures+1, err.Error()
	hasKeys := used != nil && len(used.byID) > 0
	switch {
	case hasNoKeys(err):
		l.problem = "auth: the issuer has no usable public key: no token is accepted"
	case used != nil && refusals.Final():
		l.problem = "auth: the issuer keeps refusing to return its public keys: no token is accepted"
	case hasKeys && refusals.Count() > 0:
		l.problem = "auth: the issuer refuses to return its public keys: the last fetched keys are used " +
			"until it has refused for 15 minutes"
	case hasKeys:
		l.problem = "auth: the public keys cannot be fetched: the last fetched keys are used for a day"
	default:
		l.problem = "auth: the public keys cannot be fetched: no token is accepted"
	}
	// The causes of an outage can alternate, but a set without usable keys stays until the issuer
	// changes it.
	if said != l.problem || hasNoKeys(err) && cause != l.cause {
		l.log.Error(l.problem, "url", l.url, "error", err)
	}
}
