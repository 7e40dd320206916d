-- +goose Up

-- If the host has its own users table, each row is a lock for one user, and has the ID of the
-- user. The first change that concerns the user inserts the row, and nothing removes it. If the
-- users are in auth_users, this table is empty.
CREATE TABLE IF NOT EXISTS auth_host_users (
	id VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
