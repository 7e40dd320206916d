// Package recent remembers for a bounded number of keys when something was last done for each.
package recent

import (
	"sync"
	"time"
)

// maxKeys is the maximum number of keys in each of the two maps of a Times.
const maxKeys = 1 << 15

// Times has a time for each of the latest 32768 to 65536 keys. Older keys are forgotten. The zero value has
// no keys. It is safe for concurrent use.
type Times[K comparable] struct {
	mu             sync.Mutex
	newer, earlier map[K]time.Time
}

// Get returns the time of the key, or the zero time if the key is not known.
func (t *Times[K]) Get(key K) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.newer[key]
	if !ok {
		if at, ok = t.earlier[key]; ok {
			t.set(key, at) // a key that is asked for is not forgotten
		}
	}
	return at
}

// Set sets the time of the key.
func (t *Times[K]) Set(key K, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(key, at)
}

func (t *Times[K]) set(key K, at time.Time) {
	if len(t.newer) >= maxKeys || t.newer == nil {
		t.newer, t.earlier = make(map[K]time.Time), t.newer
	}
	t.newer[key] = at
}
