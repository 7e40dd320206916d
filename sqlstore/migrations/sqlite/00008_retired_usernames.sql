-- +goose Up

-- The usernames of users who have been deleted, as auth.FoldASCII makes them. They
-- are never given again.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
