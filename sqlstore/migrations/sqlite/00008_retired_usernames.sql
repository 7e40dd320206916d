-- +goose Up

-- The usernames of deleted users, folded with auth.FoldASCII. No new user can
-- have one of them.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
