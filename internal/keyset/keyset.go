// Package keyset decides what an issuer means that refuses to return its key set (a JWK set). The rules are
// the same for the issuers of tokens and for the issuers of assertions.
package keyset

import (
	"net/http"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
)

const (
	leastRefusals = 3                // as many refusals in a row count as an answer of the issuer
	leastAge      = 15 * time.Minute // so old the first of them must be
)

// IsRefusal reports whether an issuer that answers with the status refuses to return its key set, or has no
// key set at the requested URL. Other error statuses mean only that the issuer cannot answer now. A redirect
// is a refusal, because it must not be followed.
func IsRefusal(status int) bool {
	switch status {
	case http.StatusNotModified, // the request was not conditional
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return 300 <= status && status < 500
}

// Refusals counts the refusals of one issuer since the last key set. The zero value has none. A Refusals is
// not safe for concurrent use.
//
// An issuer that refuses to return its keys may have withdrawn them. But a firewall or a proxy in front of
// the issuer can refuse a few requests, too, and so can one instance of the issuer during a deployment.
// Anyone can cause fetches, so their number alone proves nothing. Therefore the refusals are final only if
// there are at least three, and if the first began at least 15 minutes ago. A fetch that fails in another
// way says nothing about the keys: it neither counts nor ends the series.
type Refusals struct {
	count int
	first time.Time // when the first refused fetch began
	final bool
}

// Add counts a refusal of a fetch that began at the given time. If the age of the first refusal is not known,
// because the clock was set back, the refusal counts as old: the issuer must not keep a stolen key alive.
func (r *Refusals) Add(began time.Time) {
	if r.count == 0 {
		r.first = began
	}
	r.count++
	if r.count >= leastRefusals && clock.Age(began, r.first) >= leastAge {
		r.final = true
	}
}

// Count returns the number of refusals.
func (r *Refusals) Count() int { return r.count }

// Final reports whether the keys that were fetched before must no longer be used.
func (r *Refusals) Final() bool { return r.final }

// Reset is called when the issuer has returned a key set.
func (r *Refusals) Reset() { *r = Refusals{} }
