-- +goose Up

-- The usernames of deleted users, and those that users have given up, folded with auth.FoldASCII. Only the
-- user with the ID user_id can take the username again.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	user_id         TEXT COLLATE "C" NOT NULL,
	retired_at      BIGINT           NOT NULL
);

CREATE INDEX auth_retired_usernames_by_user ON auth_retired_usernames (user_id, username_folded);
CREATE INDEX auth_retired_usernames_by_time ON auth_retired_usernames (retired_at);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
