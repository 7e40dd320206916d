package sqlstore

import (
	"context"
	"slices"
	"strings"
)

// insertRows inserts the records. The parameter values is a function that returns the columns of
// one record.
//
// While there are enough records, each statement inserts rowsPerInsert rows. For the remaining
// records, insertRows halves the number of rows per statement again and again. So it prepares only
// a few different statements.
func insertRows[T any](
	ctx context.Context, t tx, insert, row string, records []T, values func(T) []any,
) error {
	for rows := t.store.dialect.rowsPerInsert; len(records) > 0; rows /= 2 {
		if rows > len(records) {
			continue
		}
		whole := len(records) / rows * rows
		if err := insertEach(ctx, t, insert+row+strings.Repeat(`, `+row, rows-1), rows,
			records[:whole], values); err != nil {
			return err
		}
		records = records[whole:]
	}
	return nil
}

// insertEach inserts the records. Each run of the query inserts the given number of rows.
func insertEach[T any](
	ctx context.Context, t tx, query string, rows int, records []T, values func(T) []any,
) error {
	statement, err := t.conn.PrepareContext(ctx, t.store.statement(query))
	if err != nil {
		return err
	}
	defer statement.Close()
	for some := range slices.Chunk(records, rows) {
		if err := t.callerErr(); err != nil {
			// The caller no longer waits. There may be thousands of statements left.
			return err
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
