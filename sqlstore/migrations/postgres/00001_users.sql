-- +goose Up

-- Times are microseconds since 1970 in UTC, 0 where there is none. Booleans are 0
-- and 1, as in the other databases. Users are listed in the order of their ids'
-- bytes, whatever the collation of the database.
--
-- There are no foreign keys. A host may bring a user table of its own, and then
-- auth_users is empty; the verbs of the store keep the tables together, each in
-- one transaction.

CREATE TABLE auth_users (
	id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	username        TEXT     NOT NULL,
	username_folded TEXT     NOT NULL UNIQUE, -- username as auth.FoldASCII makes it
	email           TEXT     NOT NULL,        -- '' where there is none
	email_folded    TEXT              UNIQUE, -- NULL where there is none: NULLs never collide
	is_super_user   SMALLINT NOT NULL CHECK (is_super_user IN (0, 1)),
	is_active       SMALLINT NOT NULL CHECK (is_active IN (0, 1)),
	created_at      BIGINT   NOT NULL,
	last_login      BIGINT   NOT NULL,
	admitted_at     BIGINT   NOT NULL
);

-- Demoting a super user asks whether another one remains.
CREATE INDEX auth_users_who_administer ON auth_users (id) WHERE is_super_user = 1 AND is_active = 1;
