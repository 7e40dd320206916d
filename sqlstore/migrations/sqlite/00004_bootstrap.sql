-- +goose Up

-- This table has at most one row. If several calls of Bootstrap run at once,
-- the primary key lets only one of them insert it.
CREATE TABLE auth_bootstrap (
	id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id TEXT    NOT NULL
) STRICT;
