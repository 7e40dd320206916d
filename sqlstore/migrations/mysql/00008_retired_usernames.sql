-- +goose Up

-- The usernames of deleted users, folded with auth.FoldASCII. A new user cannot
-- have one of these usernames.
CREATE TABLE IF NOT EXISTS auth_retired_usernames (
	username_folded VARBINARY(128) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
