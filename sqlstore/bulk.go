package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// column is a column of the rows that one statement writes. It contains text, NULL or 64-bit integers.
type column struct {
	name   string
	number bool
}

// changeAll runs the statements, except those without a text. The statements change different
// tables. If the database allows it, changeAll runs all of them in one round trip.
func (t tx) changeAll(ctx context.Context, statements ...query) error {
	statements = slices.DeleteFunc(statements, func(q query) bool { return q.text == "" })
	if len(statements) == 0 {
		return nil
	}
	if !t.store.dialect.arrays {
		for _, q := range statements {
			if err := t.change(ctx, q.text, q.arguments...); err != nil {
				return err
			}
		}
		return nil
	}
	last := statements[len(statements)-1]
	clauses, arguments := asClauses(statements[:len(statements)-1])
	if len(clauses) > 0 {
		last.text = `WITH ` + strings.Join(clauses, `, `) + ` ` + last.text
	}
	return t.change(ctx, last.text, append(arguments, last.arguments...)...)
}

// asClauses returns the statements as clauses of WITH, and their arguments.
func asClauses(statements []query) (clauses []string, arguments []any) {
	for i, q := range statements {
		clauses = append(clauses, `c`+strconv.Itoa(i)+` AS (`+q.text+`)`)
		arguments = append(arguments, q.arguments...)
	}
	return clauses, arguments
}

// insertBatch returns a statement that inserts the rows. There are at most chunk rows. Each row has
// one value for each column.
func insertBatch(d dialect, table string, columns []column, rows [][]any) (q query) {
	q.text = `INSERT INTO ` + table + ` (` + namesOf(columns) + `) `
	if d.arrays && len(rows) > 1 {
		q.text += `SELECT * FROM ` + unnest(columns)
		q.arguments = arraysOf(columns, rows)
		return q
	}
	row := `(?` + strings.Repeat(`, ?`, len(columns)-1) + `)`
	q.text += `VALUES ` + row + strings.Repeat(`, `+row, len(rows)-1)
	for _, values := range rows {
		q.arguments = append(q.arguments, values...)
	}
	return q
}

func namesOf(columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, `, `)
}

// updateBatch returns a statement that sets one column of several rows. A row is given by its ID, and
// each ID occurs once. The column contains integers. Without IDs, the query has no text.
func updateBatch(d dialect, table, column string, ids []string, values []int64) (q query) {
	if len(ids) == 0 {
		return q
	}
	q.text = `UPDATE ` + table + ` SET ` + column + ` = `
	if len(ids) == 1 {
		q.text += `? WHERE id = ?`
		q.arguments = []any{values[0], ids[0]}
		return q
	}
	if d.arrays {
		q.text += `v.value FROM unnest(?::text[], ?::bigint[]) AS v (id, value) WHERE ` + table + `.id = v.id`
		q.arguments = []any{arrayOf(ids), arrayOf(values)}
		return q
	}
	q.text += `CASE id` + strings.Repeat(` WHEN ? THEN ?`, len(ids)) + ` END WHERE id ` + inList(len(ids))
	for i, id := range ids {
		q.arguments = append(q.arguments, id, values[i])
	}
	for _, id := range ids {
		q.arguments = append(q.arguments, id)
	}
	return q
}

// unnest returns a PostgreSQL table of rows, whose parameters are the arrays of [arraysOf]. The
// statement is the same for every number of rows. So the server parses and plans it only once.
func unnest(columns []column) string {
	kinds := make([]string, len(columns))
	for i, c := range columns {
		kinds[i] = `?::text[]`
		if c.number {
			kinds[i] = `?::bigint[]`
		}
	}
	return `unnest(` + strings.Join(kinds, `, `) + `)`
}

// arraysOf returns the values of each column as an array.
func arraysOf(columns []column, rows [][]any) []any {
	arrays := make([]any, len(columns))
	for i := range columns {
		values := make([]any, len(rows))
		for j, row := range rows {
			values[j] = row[i]
		}
		arrays[i] = arrayOf(values)
	}
	return arrays
}

// arrayOf returns the values as the text of a PostgreSQL array. Every driver can pass a text. The value
// nil becomes NULL.
func arrayOf[T any](values []T) string {
	var text strings.Builder
	for i, value := range values {
		text.WriteByte("{,"[min(i, 1)])
		switch v := any(value).(type) {
		case nil:
			text.WriteString(`NULL`)
		case string:
			text.WriteString(`"` + arrayEscapes.Replace(v) + `"`)
		default:
			fmt.Fprint(&text, v)
		}
	}
	return text.String() + `}`
}

var arrayEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
