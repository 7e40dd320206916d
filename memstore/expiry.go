package memstore

import (
	"container/heap"
	"time"
)

// queue holds what can expire, the first to do so in front. It is a heap that
// knows where each entry is, so that a record which ends before its time leaves
// nothing behind to be found and skipped later.
//
// Adding and removing cost a logarithm of the length, finding what is due costs
// nothing, and each entry costs about six words.
type queue[T any] []*expiry[T]

// expiry is the place of one record in a queue.
type expiry[T any] struct {
	at     time.Time
	record T
	index  int
}

// add puts the record in its place, which remove needs to take it out.
func (q *queue[T]) add(record T, at time.Time) *expiry[T] {
	e := &expiry[T]{at: at, record: record}
	heap.Push(q, e)
	return e
}

func (q *queue[T]) remove(e *expiry[T]) {
	heap.Remove(q, e.index)
}

// prune removes up to limit records that had expired at the given time, and
// returns how many. The function it is given must take the record from the queue.
func (q *queue[T]) prune(expired time.Time, limit int, remove func(T)) int {
	pruned := 0
	for pruned < limit && len(*q) > 0 && !(*q)[0].at.After(expired) {
		remove((*q)[0].record)
		pruned++
	}
	return pruned
}

// The methods below are heap.Interface, for package heap alone to call.

func (q queue[T]) Len() int           { return len(q) }
func (q queue[T]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[T]) Push(x any) {
	e := x.(*expiry[T])
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue[T]) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil // or the array would keep the record alive
	*q = (*q)[:last]
	return e
}
