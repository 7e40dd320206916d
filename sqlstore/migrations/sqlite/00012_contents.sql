-- +goose Up

-- This table has at most one row, which the first program that opens the tables inserts. The row
-- has 'users' if the program calls sqlstore.Open, and 'accounts' if it calls sqlstore.OpenAccounts.
-- If two programs open empty tables at the same time, the primary key lets only one of them insert
-- the row.
CREATE TABLE auth_contents (
	id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	keeps TEXT    NOT NULL CHECK (keeps IN ('users', 'accounts'))
) STRICT, WITHOUT ROWID;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
