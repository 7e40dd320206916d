package sharedcall_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/sharedcall"
	"github.com/stretchr/testify/require"
)

// The result must be at least as recent as the request, so a call that has begun serves no later request.
func TestACallServesTheRequestsFromBeforeItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g sharedcall.Group[time.Time]
		var calls atomic.Int64
		read := func() (time.Time, error) {
			calls.Add(1)
			began := time.Now()
			time.Sleep(time.Second)
			return began, nil
		}
		var requests sync.WaitGroup
		for i := range 1000 {
			requests.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				came := time.Now()
				began, err := g.Do(t.Context(), "u", read)
				require.NoError(t, err)
				require.False(t, began.Before(came), "the call was older than the request")
				require.LessOrEqual(t, time.Since(came), 2*time.Second)
			})
		}
		requests.Wait()
		require.EqualValues(t, 2, calls.Load())
	})
}

func TestRequestsForDifferentKeysDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g sharedcall.Group[string]
		began := time.Now()
		var requests sync.WaitGroup
		for i := range 20 {
			requests.Go(func() {
				key := fmt.Sprint(i)
				got, err := g.Do(t.Context(), key, func() (string, error) {
					time.Sleep(time.Second)
					return key, errors.New(key)
				})
				require.Equal(t, key, got)
				require.EqualError(t, err, key)
			})
		}
		requests.Wait()
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestARequestThatGoesAwayLeavesTheCallToTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g sharedcall.Group[int]
		slow := func() (int, error) { time.Sleep(time.Second); return 7, nil }
		var requests sync.WaitGroup
		requests.Go(func() { _, _ = g.Do(t.Context(), "u", slow) })
		synctest.Wait()
		canceled, cancel := context.WithCancel(t.Context())
		requests.Go(func() {
			_, err := g.Do(canceled, "u", slow)
			require.ErrorIs(t, err, context.Canceled)
		})
		requests.Go(func() {
			time.Sleep(time.Millisecond)
			got, err := g.Do(t.Context(), "u", slow)
			require.NoError(t, err)
			require.Equal(t, 7, got)
		})
		synctest.Wait()
		cancel()
		requests.Wait()
	})
}

// A panic reaches the goroutine of one request only, and ends the wait of the others.
func TestAPanicKeepsNoOtherRequestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g sharedcall.Group[int]
		var requests sync.WaitGroup
		var panics, failures atomic.Int64
		for range 10 {
			requests.Go(func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				_, err := g.Do(t.Context(), "u", func() (int, error) {
					time.Sleep(time.Second)
					panic("broken")
				})
				require.Error(t, err)
				failures.Add(1)
			})
		}
		requests.Wait()
		require.EqualValues(t, 10, panics.Load()+failures.Load())
		got, err := g.Do(t.Context(), "u", func() (int, error) { return 7, nil })
		require.NoError(t, err)
		require.Equal(t, 7, got)
	})
}
