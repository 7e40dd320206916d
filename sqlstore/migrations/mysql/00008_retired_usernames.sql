-- +goose Up

-- The usernames of users who have been deleted, as auth.FoldASCII makes them. They
-- are never given again.
CREATE TABLE IF NOT EXISTS auth_retired_usernames (
	username_folded VARBINARY(128) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
