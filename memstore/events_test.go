package memstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestPruneEventsRemovesEventsFromEveryIndex(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memstore.New()
	for i := range 10 {
		id := fmt.Sprint("user-", i)
		w := byHost
		w.Event, w.Deliver = auth.Event{Kind: eventkind.UserCreated, ActorID: "admin"}, i%2 == 0
		user := auth.User{ID: id, Username: id, IsActive: true, CreatedAt: now}
		require.NoError(t, store.Register(ctx, w, user, newKey(id, id)))
	}
	require.Equal(t, 10, store.Events())
	pruned, err := store.PruneEvents(ctx, now.Add(time.Second), 100)
	require.NoError(t, err)
	require.Equal(t, 10, pruned)
	require.Zero(t, store.Events())
	events, err := store.ListEvents(ctx, auth.EventFilter{UserID: "user-1"}, 100)
	require.NoError(t, err)
	require.Empty(t, events)
}
