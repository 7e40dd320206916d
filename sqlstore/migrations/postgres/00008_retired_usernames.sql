-- +goose Up

-- The usernames of deleted users, folded with auth.FoldASCII. A new user cannot
-- have one of these usernames.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
