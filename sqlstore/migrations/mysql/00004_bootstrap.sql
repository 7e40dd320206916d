-- +goose Up

-- This table has at most one row. If several calls of Bootstrap run at the same
-- time, the primary key lets only one of them insert the row.
CREATE TABLE IF NOT EXISTS auth_bootstrap (
	id      TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id VARBINARY(64) NOT NULL
) ENGINE = InnoDB;
