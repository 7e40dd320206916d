-- +goose Up

CREATE TABLE auth_github_tokens (
	user_id     TEXT COLLATE "C" NOT NULL,
	host        TEXT COLLATE "C" NOT NULL,
	account_id  BIGINT           NOT NULL,
	version     TEXT             NOT NULL, -- changes with every write, except the write of a lease
	scopes      TEXT             NOT NULL,
	sealed      BYTEA            NOT NULL,
	lease_until BIGINT           NOT NULL, -- 0 if there is no lease
	updated_at  BIGINT           NOT NULL,
	PRIMARY KEY (user_id, host)
);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
