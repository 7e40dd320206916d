-- +goose Up

CREATE TABLE auth_access_keys (
	id               TEXT    NOT NULL PRIMARY KEY,
	user_id          TEXT    NOT NULL,
	hash             TEXT    NOT NULL,
	label            TEXT    NOT NULL,
	created_at       INTEGER NOT NULL,
	expires_at       INTEGER NOT NULL,
	previous_hash    TEXT    NOT NULL, -- '' if there is none
	previous_until   INTEGER NOT NULL,
	last_used_at     INTEGER NOT NULL,
	scopes           TEXT, -- NULL if the key has no limit
	must_rotate      INTEGER NOT NULL CHECK (must_rotate IN (0, 1)),
	expiry_notice_at INTEGER NOT NULL
) STRICT;

CREATE INDEX auth_access_keys_by_user ON auth_access_keys (user_id, created_at, id);
CREATE INDEX auth_access_keys_by_expiry ON auth_access_keys (expires_at) WHERE expires_at > 0;
CREATE INDEX auth_access_keys_by_overlap ON auth_access_keys (previous_until) WHERE previous_until > 0;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
