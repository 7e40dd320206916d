-- +goose Up

-- A sealed token can be kilobytes long, too long for a table WITHOUT ROWID.
CREATE TABLE auth_github_tokens (
	user_id     TEXT    NOT NULL,
	host        TEXT    NOT NULL,
	account_id  INTEGER NOT NULL,
	version     TEXT    NOT NULL, -- another with every write, but that of a lease
	scopes      TEXT    NOT NULL,
	sealed      BLOB    NOT NULL,
	lease_until INTEGER NOT NULL, -- 0 where there is none
	updated_at  INTEGER NOT NULL,
	PRIMARY KEY (user_id, host)
) STRICT;
