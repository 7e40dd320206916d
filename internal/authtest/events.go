package authtest

import (
	"context"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// EventRecord records the events that OnEvent receives. The zero value is empty.
type EventRecord struct{ Record[auth.Event] }

// Deliver calls [DeliverEvents], and returns the events that were recorded since the last Take.
func (r *EventRecord) Deliver(t testing.TB, queue EventQueue) []auth.Event {
	t.Helper()
	DeliverEvents(t, queue)
	return r.Take()
}

// EventQueue is an [auth.Service] or an [auth.EventLog].
type EventQueue interface {
	Run(ctx context.Context) error
}

// DeliverEvents calls Run until the queued events are delivered.
func DeliverEvents(t testing.TB, queue EventQueue) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, queue.Run(ctx), context.Canceled)
}
