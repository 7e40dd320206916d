-- +goose Up

-- This table has at most one row. If several calls of Bootstrap run at once,
-- the primary key lets only one of them insert it.
CREATE TABLE IF NOT EXISTS auth_bootstrap (
	id      TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id VARBINARY(64) NOT NULL
) ENGINE = InnoDB;
