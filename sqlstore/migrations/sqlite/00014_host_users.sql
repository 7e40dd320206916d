-- +goose Up

-- If the host has its own users table, each row of this table is the lock for one user. The first
-- change that concerns the user inserts the row, with the ID of the user. Nothing removes the row.
-- If the users are in auth_users, this table is empty.
CREATE TABLE auth_host_users (
	id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
