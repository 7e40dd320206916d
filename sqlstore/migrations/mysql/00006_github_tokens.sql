-- +goose Up

CREATE TABLE IF NOT EXISTS auth_github_tokens (
	user_id     VARBINARY(64)   NOT NULL,
	host        VARBINARY(253)  NOT NULL,
	account_id  BIGINT          NOT NULL,
	version     VARBINARY(64)   NOT NULL, -- changes with every write, except the write of a lease
	scopes      VARBINARY(512)  NOT NULL,
	sealed      VARBINARY(4096) NOT NULL,
	lease_until BIGINT          NOT NULL, -- 0 if there is no lease
	updated_at  BIGINT          NOT NULL,
	PRIMARY KEY (user_id, host)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
