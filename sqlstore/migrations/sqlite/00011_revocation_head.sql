-- +goose Up

-- One row, with the position of the newest entry of the feed. Whoever adds entries
-- holds it until the commit.
CREATE TABLE auth_revocation_head (
	id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO auth_revocation_head (id, position) VALUES (1, 0);
