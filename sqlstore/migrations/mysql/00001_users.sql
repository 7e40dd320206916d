-- +goose Up

-- Text is UTF-8 in VARBINARY, which compares byte for byte; a collation would take
-- two ids for one, or a trailing space for nothing. Times are microseconds since
-- 1970 in UTC, 0 where there is none. Booleans are 0 and 1.
--
-- There are no foreign keys. A host may bring a user table of its own, and then
-- auth_users is empty; the verbs of the store keep the tables together, each in
-- one transaction.
--
-- Every file has one DDL statement and can be run again: MySQL commits after each,
-- and whoever migrates may be killed before that has been noted.

CREATE TABLE IF NOT EXISTS auth_users (
	id              VARBINARY(64)  NOT NULL PRIMARY KEY,
	username        VARBINARY(128) NOT NULL,
	username_folded VARBINARY(128) NOT NULL UNIQUE, -- username as auth.FoldASCII makes it
	email           VARBINARY(254) NOT NULL,        -- '' where there is none
	email_folded    VARBINARY(254)          UNIQUE, -- NULL where there is none: NULLs never collide
	is_super_user   TINYINT        NOT NULL CHECK (is_super_user IN (0, 1)),
	is_active       TINYINT        NOT NULL CHECK (is_active IN (0, 1)),
	created_at      BIGINT         NOT NULL,
	last_login      BIGINT         NOT NULL,
	admitted_at     BIGINT         NOT NULL,
	-- Demoting a super user asks whether another one remains.
	INDEX auth_users_who_administer (is_super_user, is_active)
) ENGINE = InnoDB;
