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
