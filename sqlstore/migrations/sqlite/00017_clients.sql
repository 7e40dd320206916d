-- +goose Up

-- The clients from which each user has signed in, and when a user last did. The hash is of the User-Agent and
-- of the network of the client. There are no foreign keys, because the host may have its own users table.
CREATE TABLE auth_clients (
	user_id TEXT    NOT NULL,
	hash    TEXT    NOT NULL,
	seen_at INTEGER NOT NULL,
	PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_clients_by_time ON auth_clients (seen_at);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
