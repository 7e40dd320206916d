-- +goose Up

-- One row at most: its primary key decides which call to Bootstrap was the first.
CREATE TABLE auth_bootstrap (
	id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id TEXT    NOT NULL
) STRICT;
