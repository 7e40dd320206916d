-- +goose Up

-- Which GitHub account signs in as whom: an account as one user at most, and a
-- user with one account of each host at most.
CREATE TABLE auth_github_links (
	host       TEXT    NOT NULL,
	account_id INTEGER NOT NULL,
	user_id    TEXT    NOT NULL,
	login      TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	avatar_url TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	seen_at    INTEGER NOT NULL,
	PRIMARY KEY (host, account_id),
	UNIQUE (user_id, host)
) STRICT, WITHOUT ROWID;

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

-- The states that have been used.
CREATE TABLE auth_github_states (
	id         TEXT    NOT NULL PRIMARY KEY,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_states_by_expiry ON auth_github_states (expires_at);
