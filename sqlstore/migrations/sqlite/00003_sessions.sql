-- +goose Up

CREATE TABLE auth_sessions (
	id            TEXT    NOT NULL PRIMARY KEY,
	user_id       TEXT    NOT NULL,
	method        TEXT    NOT NULL,
	access_key_id TEXT    NOT NULL, -- '' if no access key opened the session
	created_at    INTEGER NOT NULL,
	expires_at    INTEGER NOT NULL,
	user_agent    TEXT    NOT NULL,
	address       TEXT    NOT NULL,
	generation    INTEGER NOT NULL,
	scopes        TEXT, -- NULL if the session has no limit
	audience      TEXT    NOT NULL -- '' if it is the issuer
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_sessions_by_user ON auth_sessions (user_id, created_at, generation, id);
CREATE INDEX auth_sessions_by_access_key ON auth_sessions (access_key_id);
CREATE INDEX auth_sessions_by_expiry ON auth_sessions (expires_at);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
