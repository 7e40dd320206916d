package auth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
)

// BenchmarkTokenCache is a hit, of this package's cache and of what else there is
// without one, which are bounded by nothing. Each request has its own copy of the
// token, so that no comparison is of one and the same string.
func BenchmarkTokenCache(b *testing.B) {
	for _, live := range []int{1, 10_000, 1_000_000} {
		tokens, asked := make([]string, live), make([]string, live)
		cache := auth.NewTokenCache(2 * live)
		locked := struct {
			sync.RWMutex
			tokens map[string]string
		}{tokens: map[string]string{}}
		var unlocked sync.Map
		for i := range tokens {
			tokens[i] = someToken()
			asked[i] = strings.Clone(tokens[i])
			cache.Add(tokens[i], 0, later, 1)
			locked.tokens[tokens[i]] = tokens[i]
			unlocked.Store(tokens[i], tokens[i])
		}
		for name, find := range map[string]func(string){
			"ours": func(token string) { cache.Find(token, 0) },
			"map under RWMutex": func(token string) {
				locked.RLock()
				defer locked.RUnlock()
				_ = locked.tokens[token]
			},
			"sync.Map": func(token string) { unlocked.Load(token) },
		} {
			b.Run(fmt.Sprintf("%s/live=%d", name, live), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						find(asked[i*7919%live])
					}
				})
			})
		}
	}
}
