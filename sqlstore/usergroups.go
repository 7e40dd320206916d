package sqlstore

import (
	"context"
	"sync"
	"time"
)

// userGroups has a [group] for each user of a call that cannot share a transaction with the calls of
// other users, for example because another transaction has locked the user. The calls of one user
// then share transactions that wait for the locks. Without this, each call would hold the lock of a
// busy user for a transaction of its own, and each batch would find the user locked.
type userGroups[In, Out any] struct {
	mu     sync.Mutex
	groups map[string]*userGroup[In, Out] // by user ID; only those with calls
}

type userGroup[In, Out any] struct {
	group[In, Out]
	calls int
}

// do runs the call in the next batch of the user: see [group.do].
func (g *userGroups[In, Out]) do(
	ctx context.Context, timeout time.Duration, v verb[In, Out], userID string, in In,
) (Out, error) {
	one := g.enter(userID)
	defer g.leave(userID, one)
	return one.do(ctx, timeout, v, in)
}

// busy reports whether calls of the user are at work or wait.
func (g *userGroups[In, Out]) busy(userID string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.groups[userID] != nil
}

func (g *userGroups[In, Out]) enter(userID string) *userGroup[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.groups[userID]
	if one == nil {
		if g.groups == nil {
			g.groups = map[string]*userGroup[In, Out]{}
		}
		one = &userGroup[In, Out]{group: group[In, Out]{maxLeaders: 1}}
		g.groups[userID] = one
	}
	one.calls++
	return one
}

func (g *userGroups[In, Out]) leave(userID string, one *userGroup[In, Out]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.calls--; one.calls == 0 {
		delete(g.groups, userID)
	}
}
