package sqlstore_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func TestVerbsCoverAllMethodsOfAStore(t *testing.T) {
	t.Parallel()
	var called []string
	for _, v := range verbs() {
		name, _, _ := strings.Cut(v.name, " ")
		called = append(called, name)
	}
	for _, role := range []reflect.Type{reflect.TypeFor[auth.Store](),
		reflect.TypeFor[auth.EventStore]()} {
		for i := range role.NumMethod() {
			require.Contains(t, called, role.Method(i).Name)
		}
	}
}

// A connection can be lost before the server has received a statement, or after the server has run
// it. The client cannot tell the two cases apart. In both cases, a method must change either
// everything or nothing. An error can say that the outcome is unknown. After any other error, the
// method must have changed nothing.
func TestLostConnectionNeverLeavesAPartialWriteOrAFalseAnswer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, v := range verbs() {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				before := s.rows(t)
				s.spy.watch(nil)
				require.NoError(t, v.call(context.Background(), s.store))
				of := len(s.spy.statements())
				after := s.rows(t)
				for n := 1; n <= of; n++ {
					for _, moment := range []connectionLost{{afterwards: false}, {afterwards: true}} {
						loseConnection(t, s.seeded(t), v, n, of, moment, before, after)
					}
				}
			})
		}
	})
}

func loseConnection(
	t *testing.T, s *stage, v verb, n, of int, moment connectionLost, before, after []string,
) {
	t.Helper()
	s.spy.watch(at(n, func(context.Context) error { return moment }))
	err := v.call(context.Background(), s.store)
	statement := s.spy.statements()[n-1]
	s.spy.watch(nil)
	about := fmt.Sprintf("statement %d of %d, %s, afterwards: %v: %v", n, of, statement,
		moment.afterwards, err)

	now := s.rows(t)
	switch {
	// The transaction was repeated on another connection.
	case err == nil:
		require.False(t, v.writes && n == of, about)
		require.Equal(t, after, now, about)
		return
	case v.writes && n == of:
		require.Equal(t, "COMMIT", statement)
		require.ErrorContains(t, err, "may or may not have taken effect", about)
	}
	requireNoAnswer(t, err)
	// A repeated Prune method, and ClaimEvent, skip the rows that the lost transaction still locks.
	skips := strings.HasPrefix(v.name, "Prune") || v.name == "ClaimEvent"
	require.True(t, s.sqlite() || skips || v.writes && n == of, about)
	if v.writes && n == of && moment.afterwards {
		require.Equal(t, after, now, about)
		return
	}
	require.Equal(t, before, now, about)
	// The server may not have ended the transaction yet. Most methods wait for that, but the Prune
	// methods skip locked rows.
	require.Eventually(t, func() bool {
		err = v.call(context.Background(), s.store)
		return err == nil || !strings.HasPrefix(v.name, "Prune")
	}, time.Minute, time.Millisecond)
	require.NoError(t, err, about)
	require.Equal(t, after, s.rows(t), about)
}
