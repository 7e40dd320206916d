-- +goose Up

-- Text compares byte for byte: BINARY is SQLite's collation unless another is
-- named. Times are microseconds since 1970 in UTC, 0 where there is none.
-- Booleans are 0 and 1.
--
-- A table whose rows are long has rowids: its rows lie in the order in which they
-- came, and its indexes have a number where they would have the primary key. A million
-- users are added in 0.6 of the time so.
--
-- There are no foreign keys. A host may bring a user table of its own, and then
-- auth_users is empty; the verbs of the store keep the tables together, each in
-- one transaction.

CREATE TABLE auth_users (
	id              TEXT    NOT NULL PRIMARY KEY,
	username        TEXT    NOT NULL,
	username_folded TEXT    NOT NULL UNIQUE, -- username as auth.FoldASCII makes it
	email           TEXT    NOT NULL,        -- '' where there is none
	email_folded    TEXT             UNIQUE, -- NULL where there is none: NULLs never collide
	is_super_user   INTEGER NOT NULL CHECK (is_super_user IN (0, 1)),
	is_active       INTEGER NOT NULL CHECK (is_active IN (0, 1)),
	created_at      INTEGER NOT NULL,
	last_login      INTEGER NOT NULL,
	admitted_at     INTEGER NOT NULL
) STRICT;

-- Demoting a super user asks whether another one remains.
CREATE INDEX auth_users_who_administer ON auth_users (id) WHERE is_super_user = 1 AND is_active = 1;
