-- +goose Up

-- One row. Every lasting change locks it shared, and the revocation of all sessions of all
-- users locks it exclusively, so that the one waits for the other. Sessions below the generation
-- are revoked; it is 0 until all sessions are revoked for the first time.
CREATE TABLE auth_everybody (
	id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO auth_everybody (id, generation) VALUES (1, 0);
