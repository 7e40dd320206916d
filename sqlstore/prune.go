package sqlstore

import (
	"context"
	"slices"
	"strings"
	"time"
)

// chunk is the maximum number of rows that one statement deletes or clears. It is also the maximum
// number of entries that one statement adds to the revocation feed.
const chunk = 64

// inList returns an IN clause with this number of parameters.
func inList(length int) string { return `IN (?` + strings.Repeat(`, ?`, length-1) + `)` }

// prune deletes or clears the rows that the given query finds, and returns their number. The query
// must skip rows that another transaction has locked. So any number of instances can prune at the
// same time without waiting.
//
// The query must end with "LIMIT ?", and prune adds the argument for it. The parameter statements
// contains DELETE or UPDATE statements without their IN lists. prune appends an IN list with the IDs
// that the query found.
func prune[K any](
	ctx context.Context, s *core, verb string, limit int, due query, statements ...string,
) (int, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return 0, err
	}
	return writeFor(ctx, s, verb, func(ctx context.Context, t tx) (int, error) {
		ids, err := collect(ctx, t.querier, func(id *K) []any { return []any{id} }, due.text,
			append(due.arguments, limit)...)
		if err != nil {
			return 0, err
		}
		for _, statement := range statements {
			if err := changeListed(ctx, t, statement, ids); err != nil {
				return 0, err
			}
		}
		return len(ids), nil
	})
}

// changeListed appends a list of the IDs to the given DELETE or UPDATE statement, and runs the
// statement: see [listOf].
func changeListed[K any](ctx context.Context, t tx, statement string, ids []K) error {
	for some := range slices.Chunk(ids, chunk) {
		list, listed := listOf(t.store.dialect, some)
		if err := t.change(ctx, statement+list, listed...); err != nil {
			return err
		}
	}
	return nil
}

// query is an SQL query and its arguments.
type query struct {
	text      string
	arguments []any
}

// dueBy returns a query with the given time as its argument.
func dueBy(text string, at time.Time) query { return query{text, []any{toMicros(at)}} }

// padded returns the IDs as arguments for an IN list of the given length. If there are fewer IDs,
// padded repeats the last ID. So one prepared statement serves every number of IDs.
func padded[K any](ids []K, length int) []any {
	arguments := make([]any, length)
	for i := range arguments {
		arguments[i] = ids[min(i, len(ids)-1)]
	}
	return arguments
}

// listOf returns a condition that is true for each of the IDs, and its arguments. There are at most
// chunk IDs. listOf uses at most three texts, so that the database and the driver can keep the prepared
// statements. The condition for one ID is the fastest, because most batches have one call. PostgreSQL
// plans a statement with an array once, but one with a long IN list for each execution.
func listOf[K any](d dialect, ids []K) (condition string, arguments []any) {
	switch length := len(ids); {
	case length == 1:
		return `= ?`, []any{ids[0]}
	case d.arrays:
		kind := `text`
		if _, number := any(ids[0]).(int64); number {
			kind = `bigint`
		}
		return `= ANY (?::` + kind + `[])`, []any{arrayOf(ids)}
	case length <= fewIDs:
		return inList(fewIDs), padded(ids, fewIDs)
	default:
		return inList(chunk), padded(ids, chunk)
	}
}

const fewIDs = 8
