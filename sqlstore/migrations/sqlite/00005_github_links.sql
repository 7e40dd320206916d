-- +goose Up

-- A row links a GitHub account to the user who signs in with it. An account is
-- linked to at most one user. A user is linked to at most one account of each
-- GitHub host.
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

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
