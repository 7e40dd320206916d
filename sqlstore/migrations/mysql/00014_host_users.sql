-- +goose Up

-- Rows to lock if the host has a users table of its own: the ID of each user that a change has
-- been about. A row is added with the first change and never removed. If the users are in
-- auth_users, this table is empty.
CREATE TABLE IF NOT EXISTS auth_host_users (
	id VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
