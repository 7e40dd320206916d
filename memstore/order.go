package memstore

import (
	"iter"
	"slices"
	"sort"
	"strings"
)

// blockSize is the maximum number of records in a block. With larger blocks, moving the records of
// a block would take too long. With smaller blocks, the list of blocks would be too long.
const blockSize = 512

// order contains all users or all access keys, sorted by the bytes of their IDs, or users sorted by a name.
// They are in blocks that are never empty. Adding or removing a record moves only the later records of the
// same block. If a block is split or becomes empty, the later blocks in the list move too. With a million
// records, adding or removing one takes about a microsecond. A single sorted slice would have to move up to
// eight megabytes.
type order[T withID] struct {
	blocks [][]T
}

// withID is a record that an [order] can contain.
type withID interface{ id() string }

func (u *user) id() string      { return u.record.ID }
func (k *accessKey) id() string { return k.record.ID }

func (o *order[T]) add(record T) {
	if len(o.blocks) == 0 {
		o.blocks = [][]T{{record}}
		return
	}
	b, i := o.place(record.id())
	block := slices.Insert(o.blocks[b], i, record)
	o.blocks[b] = block
	if len(block) > blockSize {
		upper := slices.Clone(block[blockSize/2:])
		clear(block[blockSize/2:]) // otherwise the backing array would keep records alive
		o.blocks[b] = block[:blockSize/2]
		o.blocks = slices.Insert(o.blocks, b+1, upper)
	}
}

// remove removes the record, which must be in the order.
func (o *order[T]) remove(record T) {
	b, i := o.place(record.id())
	o.blocks[b] = slices.Delete(o.blocks[b], i, i+1)
	if len(o.blocks[b]) == 0 {
		o.blocks = slices.Delete(o.blocks, b, b+1)
	}
}

// after returns an iterator over the records whose IDs are greater than the given ID. The given ID
// need not belong to a record. The iterator finds the first record in logarithmic time.
func (o *order[T]) after(id string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for record := range o.from(id) {
			if record.id() != id && !yield(record) {
				return
			}
		}
	}
}

// from does the same as after, but begins with the record that has the given ID, if there is one.
func (o *order[T]) from(id string) iter.Seq[T] {
	return func(yield func(T) bool) {
		if len(o.blocks) == 0 {
			return
		}
		b, i := o.place(id)
		for _, block := range o.blocks[b:] {
			for _, record := range block[i:] {
				if !yield(record) {
					return
				}
			}
			i = 0
		}
	}
}

// place returns the position of the record with this ID. If there is no such record, place returns
// the position at which a record with this ID must be inserted. The caller has checked that there is
// at least one block.
func (o *order[T]) place(id string) (block, index int) {
	block = sort.Search(len(o.blocks), func(b int) bool { return o.blocks[b][0].id() > id })
	block = max(block-1, 0)
	index, _ = slices.BinarySearchFunc(o.blocks[block], id, func(record T, id string) int {
		return strings.Compare(record.id(), id)
	})
	return block, index
}
