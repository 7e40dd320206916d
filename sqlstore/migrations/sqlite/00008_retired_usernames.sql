-- +goose Up

-- The usernames of deleted users, folded with auth.FoldASCII. A new user cannot
-- have one of these usernames.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
