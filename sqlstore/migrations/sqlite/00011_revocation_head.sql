-- +goose Up

-- This table has one row, with the position of the newest entry in
-- auth_revocations. A transaction that adds entries locks the row until it
-- ends.
CREATE TABLE auth_revocation_head (
	id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO auth_revocation_head (id, position) VALUES (1, 0);
