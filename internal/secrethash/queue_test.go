package secrethash_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
)

// address returns the address of the nth client.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)})
}

// crowd lets clients enter a queue, each in a goroutine of its own.
type crowd struct {
	queue   *secrethash.Queue
	results chan error
	leaves  chan func()
}

func newCrowd(slots int) *crowd {
	return &crowd{queue: secrethash.NewQueue(slots), results: make(chan error, 1000),
		leaves: make(chan func(), 1000)}
}

func (c *crowd) enter(ctx context.Context, client netip.Addr) {
	go func() {
		leave, err := c.queue.Enter(ctx, client)
		if err != nil {
			c.results <- err
			return
		}
		c.leaves <- leave
	}()
	synctest.Wait()
}

func requireBusy(t *testing.T, err error, retryAfter time.Duration) {
	t.Helper()
	busy, ok := errors.AsType[*secrethash.BusyError](err)
	require.True(t, ok, err)
	require.Equal(t, retryAfter, busy.RetryAfter)
	require.EqualError(t, err, "auth: too many slow hashes wait: try again in "+retryAfter.String())
}

func TestABoundedNumberOfHashesRunsAndABoundedNumberWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, waiters = 2, 64
		c := newCrowd(slots)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range slots + waiters {
			c.enter(ctx, address(i))
		}
		require.Len(t, c.leaves, slots)
		require.Empty(t, c.results, "the others wait")
		for i := range 10 {
			c.enter(ctx, address(1000+i))
			requireBusy(t, <-c.results, time.Second)
		}

		(<-c.leaves)()
		synctest.Wait()
		require.Len(t, c.leaves, slots, "a waiter runs in the place of the one that left")
		c.enter(ctx, address(2000))
		require.Empty(t, c.results, "and there is a place to wait again")

		cancel()
		for range waiters {
			err := <-c.results
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "auth: waiting for a slow hash: ")
		}
		for range slots {
			(<-c.leaves)()
		}
		for i := range slots {
			c.enter(t.Context(), address(i))
		}
		require.Len(t, c.leaves, slots, "the queue is empty again")
	})
}

func TestAWaitEndsAfterThreeSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.enter(t.Context(), address(1))
		leave := <-c.leaves
		began := time.Now()
		c.enter(t.Context(), address(2))
		requireBusy(t, <-c.results, 3*time.Second)
		require.Equal(t, 3*time.Second, time.Since(began))
		leave()
		c.enter(t.Context(), address(2))
		require.Len(t, c.leaves, 1)
	})
}

func TestAHashThatStopsWaitingGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const places = 33
		c := newCrowd(1)
		c.enter(t.Context(), address(0))
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			for i := range places - 1 {
				c.enter(ctx, address(1+i))
			}
			require.Empty(t, c.results, "every place can be taken")
			cancel()
			for range places - 1 {
				require.ErrorIs(t, <-c.results, context.Canceled)
			}
		}
		require.Equal(t, 1, c.queue.Clients(), "only the client whose hash runs is remembered")
		(<-c.leaves)()
		require.Zero(t, c.queue.Clients())
	})
}

func TestOneClientGetsAFourthOfThePlaces(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]netip.Addr{"with an address": address(1), "without an address": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const places, share = 33, 8
				c := newCrowd(1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range share {
					c.enter(ctx, client)
				}
				require.Empty(t, c.results)
				for range 3 {
					c.enter(ctx, client)
					requireBusy(t, <-c.results, time.Second)
				}
				for i := range places - share {
					c.enter(ctx, address(100+i))
				}
				require.Empty(t, c.results, "the rest is for the others")

				(<-c.leaves)()
				synctest.Wait()
				c.enter(ctx, client)
				require.Empty(t, c.results, "a turn that ends gives the place back")
			})
		})
	}
}
