package sqlstore

import (
	"context"
	"slices"
	"strings"
)

// insertRows adds the records, whose values are a row each, to a table. The number of
// rows in a statement is a power of two, so that there are few statements.
func insertRows[T any](ctx context.Context, t tx, insert, row string, records []T, values func(T) []any) error {
	for rows := t.store.dialect.rowsPerInsert; len(records) > 0; rows /= 2 {
		if rows > len(records) {
			continue
		}
		whole := len(records) / rows * rows
		if err := insertEach(ctx, t, insert+row+strings.Repeat(`, `+row, rows-1), rows, records[:whole], values); err != nil {
			return err
		}
		records = records[whole:]
	}
	return nil
}

// insertEach adds the records with a statement that takes so many rows at once.
func insertEach[T any](ctx context.Context, t tx, query string, rows int, records []T, values func(T) []any) error {
	statement, err := t.conn.PrepareContext(ctx, t.store.statement(query))
	if err != nil {
		return err
	}
	defer statement.Close()
	for some := range slices.Chunk(records, rows) {
		if err := t.callerErr(); err != nil {
			return err // now and not after the other statements, of which there may be thousands
		}
		var arguments []any
		for _, record := range some {
			arguments = append(arguments, values(record)...)
		}
		if _, err := statement.ExecContext(ctx, arguments...); err != nil {
			return t.store.existsOr(err)
		}
	}
	return nil
}
