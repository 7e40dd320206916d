package memstore

import (
	"container/heap"
	"iter"
	"time"
)

// queue is a heap with one entry for each record that can expire. The record that expires first is
// at the top. Each entry stores its own index in the heap. So when a record is removed from the
// store, its entry is removed from the heap without a search. The heap has no entries of removed
// records.
//
// Adding or removing an entry takes logarithmic time. Finding the next expired record takes
// constant time. An entry takes about six words of memory.
type queue[T any] []*expiry[T]

// expiry is one record's entry in a queue.
type expiry[T any] struct {
	at     time.Time
	record T
	index  int
}

// add adds the record and returns its entry, which the method remove needs.
func (q *queue[T]) add(record T, at time.Time) *expiry[T] {
	e := &expiry[T]{at: at, record: record}
	heap.Push(q, e)
	return e
}

func (q *queue[T]) remove(e *expiry[T]) {
	heap.Remove(q, e.index)
}

// prune removes up to limit records that expire at the given time or earlier. It returns how many
// records it has removed. To remove a record, prune calls the function in the parameter remove. The
// function must also remove the record's entry from the queue.
func (q *queue[T]) prune(expired time.Time, limit int, remove func(T)) int {
	pruned := 0
	for pruned < limit && len(*q) > 0 && !(*q)[0].at.After(expired) {
		remove((*q)[0].record)
		pruned++
	}
	return pruned
}

// until returns an iterator over the records that expire at the given time or earlier, in no particular
// order. It does not look at most of the other records, because each entry of a heap expires no earlier than
// its parent.
func (q queue[T]) until(end time.Time) iter.Seq[T] {
	return func(yield func(T) bool) {
		for next := []int{0}; len(next) > 0; {
			i := next[len(next)-1]
			next = next[:len(next)-1]
			if i >= len(q) || q[i].at.After(end) {
				continue
			}
			if !yield(q[i].record) {
				return
			}
			next = append(next, 2*i+1, 2*i+2)
		}
	}
}

// The methods below implement heap.Interface, so that package container/heap can call them.

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
	(*q)[last] = nil // otherwise the backing array would keep the record alive
	*q = (*q)[:last]
	return e
}
