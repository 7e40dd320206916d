-- +goose Up

-- This table has at most one row. If several calls of Bootstrap run at the same
-- time, the primary key lets only one of them insert the row.
CREATE TABLE auth_bootstrap (
	id      SMALLINT         NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id TEXT COLLATE "C" NOT NULL
);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
