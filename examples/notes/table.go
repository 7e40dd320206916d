package notes

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// Note is a note of one user.
type Note struct {
	ID        string    `json:"id"` // a later note has a greater ID
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created_at"`
}

// Table keeps notes in a SQL database. Its statements are the same for SQLite and PostgreSQL.
type Table struct{ db *sql.DB }

// OpenTable creates the table if it does not exist. If two instances do so at once, one of them can fail.
func OpenTable(ctx context.Context, db *sql.DB) (*Table, error) {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS notes (user_id TEXT NOT NULL, id TEXT NOT NULL,
		text TEXT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (user_id, id))`)
	return &Table{db}, err
}

// List returns the newest 100 notes of the user. If before is not empty, their IDs are lower than before.
func (t *Table) List(ctx context.Context, userID, before string) ([]Note, error) {
	rows, err := t.db.QueryContext(ctx, `SELECT id, text, created_at FROM notes
		WHERE user_id = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT 100`, userID, before)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	notes := []Note{} // an empty list is [] in JSON, not null
	for rows.Next() {
		note, created := Note{}, int64(0)
		if err := rows.Scan(&note.ID, &note.Text, &created); err != nil {
			return nil, err
		}
		note.CreatedAt = time.UnixMicro(created).UTC()
		notes = append(notes, note)
	}
	return notes, rows.Err()
}

// Add keeps a new note of the user.
func (t *Table) Add(ctx context.Context, userID, text string) (Note, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	note := Note{ID: fmt.Sprintf("%013x%s", now.UnixMicro(), rand.Text()), Text: text, CreatedAt: now}
	_, err := t.db.ExecContext(ctx, `INSERT INTO notes (user_id, id, text, created_at) VALUES ($1, $2, $3, $4)`,
		userID, note.ID, text, now.UnixMicro())
	return note, err
}

// Delete deletes a note of the user. It returns auth.ErrNotFound if the user has no such note.
func (t *Table) Delete(ctx context.Context, userID, id string) error {
	result, err := t.db.ExecContext(ctx, `DELETE FROM notes WHERE user_id = $1 AND id = $2`, userID, id)
	if err != nil {
		return err
	}
	if deleted, err := result.RowsAffected(); err != nil || deleted > 0 {
		return err
	}
	return auth.ErrNotFound
}

// DeleteUser deletes all notes of a user.
func (t *Table) DeleteUser(ctx context.Context, userID string) error {
	_, err := t.db.ExecContext(ctx, `DELETE FROM notes WHERE user_id = $1`, userID)
	return err
}
