-- +goose Up

-- In all tables, a time is a number of microseconds since 1970 in UTC, or 0 if
-- there is none. A boolean is 0 or 1, as in the other databases. Text that has an
-- index has the collation "C". So records are listed in the order of the bytes of
-- their IDs, whatever the collation of the database is. And an update of the
-- operating system, which can change the order of a language, damages no index.
--
-- There are no foreign keys, because auth_users is empty if the host has its
-- own users table. Instead, each method of the store makes all its changes in
-- one transaction.

CREATE TABLE auth_users (
	id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	username        TEXT             NOT NULL,
	username_folded TEXT COLLATE "C" NOT NULL UNIQUE, -- auth.FoldASCII of the username
	email           TEXT             NOT NULL,        -- '' if there is none
	email_folded    TEXT COLLATE "C"          UNIQUE, -- NULL if there is none, because many rows may have NULL
	is_super_user   SMALLINT         NOT NULL CHECK (is_super_user IN (0, 1)),
	is_active       SMALLINT         NOT NULL CHECK (is_active IN (0, 1)),
	created_at      BIGINT           NOT NULL,
	last_login      BIGINT           NOT NULL,
	admitted_at     BIGINT           NOT NULL,
	is_service      SMALLINT         NOT NULL CHECK (is_service IN (0, 1)),
	created_by      TEXT             NOT NULL, -- '' for a person, or if the host added the service user
	audiences       TEXT             NOT NULL -- in order, separated by single spaces
);

-- Before a super user is demoted, the store uses this index to look for another one, who is a person.
CREATE INDEX auth_users_who_administer ON auth_users (id)
WHERE is_super_user = 1 AND is_active = 1 AND is_service = 0;

-- There can be few service users among many persons.
CREATE INDEX auth_users_services ON auth_users (id) WHERE is_service = 1;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
