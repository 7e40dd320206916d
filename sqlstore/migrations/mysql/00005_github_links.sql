-- +goose Up

-- A row links a GitHub account to the user who signs in with it. An account is
-- linked to at most one user. A user is linked to at most one account of each
-- GitHub host.
CREATE TABLE IF NOT EXISTS auth_github_links (
	host       VARBINARY(253) NOT NULL,
	account_id BIGINT         NOT NULL,
	user_id    VARBINARY(64)  NOT NULL,
	login      VARBINARY(512) NOT NULL,
	name       VARBINARY(512) NOT NULL,
	avatar_url VARBINARY(512) NOT NULL,
	created_at BIGINT         NOT NULL,
	seen_at    BIGINT         NOT NULL,
	PRIMARY KEY (host, account_id),
	UNIQUE (user_id, host)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
