-- +goose Up

-- The values of the OAuth parameter "state" that have been used. Each value can
-- be used only one time.
CREATE TABLE IF NOT EXISTS auth_github_states (
	id         VARBINARY(64) NOT NULL PRIMARY KEY,
	expires_at BIGINT        NOT NULL,
	INDEX auth_github_states_by_expiry (expires_at)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
