-- +goose Up

-- This table is not WITHOUT ROWID, because a sealed token can be several
-- kilobytes long.
CREATE TABLE auth_github_tokens (
	user_id     TEXT    NOT NULL,
	host        TEXT    NOT NULL,
	account_id  INTEGER NOT NULL,
	version     TEXT    NOT NULL, -- changes with every write, except the write of a lease
	scopes      TEXT    NOT NULL,
	sealed      BLOB    NOT NULL,
	lease_until INTEGER NOT NULL, -- 0 if there is no lease
	updated_at  INTEGER NOT NULL,
	PRIMARY KEY (user_id, host)
) STRICT;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
