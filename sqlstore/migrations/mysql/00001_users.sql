-- +goose Up

-- Text is UTF-8 in VARBINARY, which compares byte for byte. With a collation,
-- two different IDs could be equal, and spaces at the end could be ignored. In
-- all tables, a time is a number of microseconds since 1970 in UTC, or 0 if
-- there is none. A boolean is 0 or 1.
--
-- There are no foreign keys, because auth_users is empty if the host has its
-- own users table. Instead, each method of the store makes all its changes in
-- one transaction.
--
-- Every migration file has one DDL statement and can be run again. This is
-- necessary because MySQL commits after each DDL statement, and the process can
-- be killed before it has recorded the migration.

CREATE TABLE IF NOT EXISTS auth_users (
	id              VARBINARY(64)  NOT NULL PRIMARY KEY,
	username        VARBINARY(128) NOT NULL,
	username_folded VARBINARY(128) NOT NULL UNIQUE, -- auth.FoldASCII of the username
	email           VARBINARY(254) NOT NULL,        -- '' if there is none
	email_folded    VARBINARY(254)          UNIQUE, -- NULL if there is none, because many rows may have NULL
	is_super_user   TINYINT        NOT NULL CHECK (is_super_user IN (0, 1)),
	is_active       TINYINT        NOT NULL CHECK (is_active IN (0, 1)),
	created_at      BIGINT         NOT NULL,
	last_login      BIGINT         NOT NULL,
	admitted_at     BIGINT         NOT NULL,
	is_service      TINYINT        NOT NULL CHECK (is_service IN (0, 1)),
	created_by      VARBINARY(64)  NOT NULL, -- '' for a person, or if the host added the service user
	audiences       VARBINARY(900) NOT NULL, -- in order, separated by single spaces
	-- Before a super user is demoted, the store uses this index to look for another one, who is a person.
	INDEX auth_users_who_administer (is_super_user, is_active, is_service),
	-- There can be few service users among many persons.
	INDEX auth_users_by_kind (is_service, id)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
