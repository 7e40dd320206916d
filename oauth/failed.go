package oauth

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/canonical"
)

const (
	// failedFor is how long a rejected pair is remembered.
	failedFor = 2 * time.Second

	maxFailed = 1024
)

// failedPairs remembers pairs that the service has just rejected. Some clients send a pair in the
// Authorization header, and after a 401 again in the form. The second attempt must not count as another
// failed sign-in of the client address. The zero value is empty.
type failedPairs struct {
	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time
}

// unlessFailed calls do, unless do has rejected the pair less than two seconds ago. It returns the error
// of do, and the answer invalid_client for a rejected pair.
func (f *failedPairs) unlessFailed(pair auth.KeyPair, basic bool, do func() error) error {
	id := sha256.Sum256(canonical.Frame(pair.AccessKey, pair.AccessSecret.Reveal()))
	if f.has(id) {
		return invalidClient(basic)
	}
	err := do()
	if errors.Is(err, auth.ErrInvalidCredentials) {
		f.add(id)
		return invalidClient(basic)
	}
	return err
}

func (f *failedPairs) has(id [sha256.Size]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until[id])
}

// add remembers a pair. If there are too many, it first forgets those whose time is over, or all.
func (f *failedPairs) add(id [sha256.Size]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if len(f.until) >= maxFailed {
		for other, until := range f.until {
			if !now.Before(until) {
				delete(f.until, other)
			}
		}
	}
	if f.until == nil || len(f.until) >= maxFailed {
		f.until = map[[sha256.Size]byte]time.Time{}
	}
	f.until[id] = now.Add(failedFor)
}
