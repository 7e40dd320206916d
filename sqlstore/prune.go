package sqlstore

import (
	"context"
	"slices"
	"strings"
	"time"
)

// chunk is how many rows one statement deletes.
const chunk = 50

// list has a parameter for each of so many ids.
func list(length int) string { return `IN (?` + strings.Repeat(`, ?`, length-1) + `)` }

// prune removes what the query finds expired. It leaves out rows that others hold:
// they are being removed, or refused, at that moment. So any number of instances
// can prune at once, none of them waits, and nobody waits long for one.
//
// The query's last argument is the limit. Each of the deletions ends in the list of
// the ids that it finds.
func prune[K any](ctx context.Context, s *core, verb string, limit int, due query, deletions ...string) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, verb, func(ctx context.Context, t tx) (int, error) {
		ids, err := collect(ctx, t.querier, func(id *K) []any { return []any{id} }, due.text, append(due.arguments, limit)...)
		if err != nil {
			return 0, err
		}
		for _, deletion := range deletions {
			if err := deleteListed(ctx, t, deletion, ids); err != nil {
				return 0, err
			}
		}
		return len(ids), nil
	})
}

// deleteListed deletes the rows with these ids. The deletion ends in their list.
func deleteListed[K any](ctx context.Context, t tx, deletion string, ids []K) error {
	deletion += list(chunk)
	for some := range slices.Chunk(ids, chunk) {
		if err := t.change(ctx, deletion, padded(some, chunk)...); err != nil {
			return err
		}
	}
	return nil
}

// query is a query with its arguments.
type query struct {
	text      string
	arguments []any
}

// dueBy returns a query for what had expired at the given time.
func dueBy(text string, at time.Time) query { return query{text, []any{toMicros(at)}} }

// padded returns the ids as the arguments of a list, with one of them repeated
// where there are fewer: so there is one statement, not one for each length.
func padded[K any](ids []K, length int) []any {
	arguments := make([]any, length)
	for i := range arguments {
		arguments[i] = ids[min(i, len(ids)-1)]
	}
	return arguments
}
