-- +goose Up

-- The usernames of deleted users, and those that users have given up, folded with auth.FoldASCII. Only the
-- user with the ID user_id can take the username again.
CREATE TABLE IF NOT EXISTS auth_retired_usernames (
	username_folded VARBINARY(128) NOT NULL PRIMARY KEY,
	user_id         VARBINARY(64)  NOT NULL,
	retired_at      BIGINT         NOT NULL,
	INDEX auth_retired_usernames_by_user (user_id, username_folded),
	INDEX auth_retired_usernames_by_time (retired_at)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
