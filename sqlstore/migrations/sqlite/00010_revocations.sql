-- +goose Up

-- The revocation feed. Its entries revoke sessions that have not expired. The
-- positions of the entries are in the order of the commits.
CREATE TABLE auth_revocations (
	position   INTEGER NOT NULL PRIMARY KEY,
	id         TEXT    NOT NULL, -- random
	user_id    TEXT    NOT NULL,
	session_id TEXT    NOT NULL, -- '' for all sessions with a lower generation
	generation INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_revocations_by_expiry ON auth_revocations (expires_at);

-- The entries in force. Each revocation of a session counts those of its user. SQLite counts them
-- without reading their rows, because the index has all columns that the statement names.
CREATE INDEX auth_revocations_in_force ON auth_revocations (user_id, session_id, generation, expires_at)
WHERE expires_at > 0;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
