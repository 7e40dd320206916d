-- +goose Up

-- This table has one row. Every transaction that makes a lasting change takes a shared lock on the
-- row. A transaction that revokes all sessions of all users takes an exclusive lock instead. So no
-- other lasting change runs at the same time.
--
-- Sessions with a generation below that of the row are revoked. The generation of the row is 0
-- until all sessions are revoked for the first time.
CREATE TABLE auth_everybody (
	id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	generation BIGINT NOT NULL
);

INSERT INTO auth_everybody (id, generation) VALUES (1, 0);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
