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
-- Every statement of a migration can be run again. This is necessary because
-- MySQL commits after each DDL statement, and the process can be killed before
-- it has recorded the migration.

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
	INDEX auth_users_by_kind (is_service, id),
	-- Among many users, few are disabled or service users. The store lists these users with indexes of
	-- their own. So a page of them does not pass over all other users. An index has an entry for each
	-- user, because there are no indexes of some rows. So there are few indexes: the store reads all super
	-- users with auth_users_who_administer, and all service users whose e-mail it searches with
	-- auth_users_by_kind, unless fewer users match the search.
	INDEX auth_users_inactive (is_active, id),
	INDEX auth_users_inactive_by_username (is_active, username_folded),
	INDEX auth_users_inactive_by_email (is_active, email_folded),
	INDEX auth_users_services_by_username (is_service, username_folded)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS auth_access_keys (
	id               VARBINARY(128) NOT NULL PRIMARY KEY,
	user_id          VARBINARY(64)  NOT NULL,
	hash             VARBINARY(255) NOT NULL,
	label            VARBINARY(256) NOT NULL,
	created_at       BIGINT         NOT NULL,
	expires_at       BIGINT         NOT NULL,
	previous_hash    VARBINARY(255) NOT NULL, -- '' if there is none
	previous_until   BIGINT         NOT NULL,
	last_used_at     BIGINT         NOT NULL,
	scopes           VARBINARY(1024), -- NULL if the key has no limit
	must_rotate      TINYINT        NOT NULL CHECK (must_rotate IN (0, 1)),
	expiry_notice_at BIGINT         NOT NULL,
	INDEX auth_access_keys_by_user (user_id, created_at, id),
	INDEX auth_access_keys_by_expiry (expires_at),
	INDEX auth_access_keys_by_overlap (previous_until)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS auth_sessions (
	id            VARBINARY(64)  NOT NULL PRIMARY KEY,
	user_id       VARBINARY(64)  NOT NULL,
	method        VARBINARY(64)  NOT NULL,
	access_key_id VARBINARY(128) NOT NULL, -- '' if no access key opened the session
	created_at    BIGINT         NOT NULL,
	expires_at    BIGINT         NOT NULL,
	user_agent    VARBINARY(256) NOT NULL,
	address       VARBINARY(64)  NOT NULL,
	generation    BIGINT         NOT NULL,
	scopes        VARBINARY(1024), -- NULL if the session has no limit
	audience      VARBINARY(256) NOT NULL, -- '' if it is the issuer
	INDEX auth_sessions_by_user (user_id, created_at, generation, id),
	INDEX auth_sessions_by_access_key (access_key_id),
	INDEX auth_sessions_by_expiry (expires_at)
) ENGINE = InnoDB;

-- This table has at most one row. If several calls of Bootstrap run at the same
-- time, the primary key lets only one of them insert the row.
CREATE TABLE IF NOT EXISTS auth_bootstrap (
	id      TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id VARBINARY(64) NOT NULL
) ENGINE = InnoDB;

-- A row links a GitHub account to the user who signs in with it. An account is
-- linked to at most one user. A user is linked to at most one account of each
-- GitHub host.
CREATE TABLE IF NOT EXISTS auth_github_links (
	host       VARBINARY(253) NOT NULL,
	account_id BIGINT         NOT NULL,
	user_id    VARBINARY(64)  NOT NULL,
	login      VARBINARY(512) NOT NULL,
	name       VARBINARY(512) NOT NULL,
	avatar_url VARBINARY(512) NOT NULL,
	created_at BIGINT         NOT NULL,
	seen_at    BIGINT         NOT NULL,
	PRIMARY KEY (host, account_id),
	UNIQUE (user_id, host)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS auth_github_tokens (
	user_id     VARBINARY(64)   NOT NULL,
	host        VARBINARY(253)  NOT NULL,
	account_id  BIGINT          NOT NULL,
	version     VARBINARY(64)   NOT NULL, -- changes with every write, except the write of a lease
	scopes      VARBINARY(512)  NOT NULL,
	sealed      VARBINARY(4096) NOT NULL,
	lease_until BIGINT          NOT NULL, -- 0 if there is no lease
	updated_at  BIGINT          NOT NULL,
	PRIMARY KEY (user_id, host)
) ENGINE = InnoDB;

-- The values of the OAuth parameter "state" that have been used. Each value can
-- be used only one time.
CREATE TABLE IF NOT EXISTS auth_github_states (
	id         VARBINARY(64) NOT NULL PRIMARY KEY,
	expires_at BIGINT        NOT NULL,
	INDEX auth_github_states_by_expiry (expires_at)
) ENGINE = InnoDB;

-- The usernames of deleted users, and those that users have given up, folded with auth.FoldASCII. Only the
-- user with the ID user_id can take the username again.
CREATE TABLE IF NOT EXISTS auth_retired_usernames (
	username_folded VARBINARY(128) NOT NULL PRIMARY KEY,
	user_id         VARBINARY(64)  NOT NULL,
	retired_at      BIGINT         NOT NULL,
	INDEX auth_retired_usernames_by_user (user_id, username_folded),
	INDEX auth_retired_usernames_by_time (retired_at)
) ENGINE = InnoDB;

-- Each row is a lock for a change that concerns several users. A transaction
-- that demotes, disables or deletes a super user locks the row 'super users',
-- and then looks for another super user who remains.
CREATE TABLE IF NOT EXISTS auth_locks (
	name VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT INTO auth_locks (name)
SELECT 'super users' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_locks WHERE name = 'super users');

-- The revocation feed. Its entries revoke sessions that have not expired. The
-- positions of the entries are in the order of the commits.
CREATE TABLE IF NOT EXISTS auth_revocations (
	position   BIGINT        NOT NULL PRIMARY KEY,
	id         VARBINARY(64) NOT NULL, -- random
	user_id    VARBINARY(64) NOT NULL,
	session_id VARBINARY(64) NOT NULL, -- '' for all sessions with a lower generation
	generation BIGINT        NOT NULL,
	expires_at BIGINT        NOT NULL,
	INDEX auth_revocations_by_expiry (expires_at),
	-- The entries in force. Without this index, each revocation of a session would also read
	-- the replaced entries of its user.
	INDEX auth_revocations_in_force (user_id, expires_at)
) ENGINE = InnoDB;

-- This table has one row, with the position of the newest entry in
-- auth_revocations. A transaction that adds entries locks the row until it
-- ends.
CREATE TABLE IF NOT EXISTS auth_revocation_head (
	id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	position BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO auth_revocation_head (id, position)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_revocation_head WHERE id = 1);

-- This table has at most one row, which the first program that opens the tables inserts. The row
-- has 'users' if the program calls sqlstore.Open, and 'accounts' if it calls sqlstore.OpenAccounts.
-- If two programs open empty tables at the same time, the primary key lets only one of them insert
-- the row.
CREATE TABLE IF NOT EXISTS auth_contents (
	id    TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	keeps VARBINARY(64) NOT NULL CHECK (keeps IN ('users', 'accounts'))
) ENGINE = InnoDB;

-- This table has one row. Every transaction that makes a lasting change takes a shared lock on the
-- row. A transaction that revokes all sessions of all users takes an exclusive lock instead. So no
-- other lasting change runs at the same time.
--
-- Sessions with a generation below that of the row are revoked. The generation of the row is 0
-- until all sessions are revoked for the first time.
CREATE TABLE IF NOT EXISTS auth_everybody (
	id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	generation BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO auth_everybody (id, generation)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_everybody WHERE id = 1);

-- If the host has its own users table, each row of this table is the lock for one user. The first
-- change that concerns the user inserts the row, with the ID of the user. Nothing removes the row.
-- If the users are in auth_users, this table is empty.
CREATE TABLE IF NOT EXISTS auth_host_users (
	id VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

-- The GitHub accounts that were ever linked, including those that are no longer linked. user_id is
-- the user to whom the account was last linked. Each account has one grant, which can make one user
-- a super user one time. grant_spent is 1 if the grant has been used.
CREATE TABLE IF NOT EXISTS auth_github_accounts (
	host         VARBINARY(253) NOT NULL,
	account_id   BIGINT         NOT NULL,
	user_id      VARBINARY(64)  NOT NULL, -- '' if the store remembers no user for the account
	grant_spent  TINYINT        NOT NULL CHECK (grant_spent IN (0, 1)),
	forgotten_at BIGINT         NOT NULL, -- 0 if user_id is not ''
	PRIMARY KEY (host, account_id),
	INDEX auth_github_accounts_by_user (user_id, host, account_id),
	INDEX auth_github_accounts_by_time (forgotten_at)
) ENGINE = InnoDB;

-- The accounts that were pruned after their grant was spent, as auth.GitHubAccount.Digest.
CREATE TABLE IF NOT EXISTS auth_spent_grants (
	digest VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

-- The audit trail: the events of lasting changes. The transaction that makes a change also adds the
-- event. There are no foreign keys, so that an event stays when its user is deleted. A missing text
-- is '', and a missing github_id is 0.
CREATE TABLE IF NOT EXISTS auth_events (
	id            VARBINARY(64)  NOT NULL PRIMARY KEY, -- random
	at            BIGINT         NOT NULL,
	kind          VARBINARY(64)  NOT NULL,
	user_id       VARBINARY(64)  NOT NULL,
	actor_id      VARBINARY(64)  NOT NULL,
	by_host       VARBINARY(64)  NOT NULL,
	session_id    VARBINARY(64)  NOT NULL,
	access_key    VARBINARY(128) NOT NULL,
	method        VARBINARY(64)  NOT NULL,
	github_host   VARBINARY(253) NOT NULL,
	github_id     BIGINT         NOT NULL,
	reason        VARBINARY(512) NOT NULL,
	address       VARBINARY(64)  NOT NULL, -- '' in this and the next two columns if the actor was deleted
	user_agent    VARBINARY(256) NOT NULL,
	request_id    VARBINARY(256) NOT NULL,
	pending       TINYINT        NOT NULL CHECK (pending IN (0, 1)), -- 1 while the event waits for delivery
	claimed_until BIGINT         NOT NULL, -- until then, one instance tries to deliver the event
	attempts      BIGINT         NOT NULL,
	INDEX auth_events_by_time (at, id),
	INDEX auth_events_by_user (user_id, at, id),
	INDEX auth_events_by_kind (kind, at, id),
	INDEX auth_events_by_actor (actor_id, at, id),
	INDEX auth_events_pending (pending, at, id),
	INDEX auth_events_pending_by_user (pending, user_id, at, id)
) ENGINE = InnoDB;

-- The clients from which each user has signed in, and when a user last did. The hash is of the User-Agent and
-- of the network of the client. There are no foreign keys, because the host may have its own users table.
CREATE TABLE IF NOT EXISTS auth_clients (
	user_id VARBINARY(64) NOT NULL,
	hash    VARBINARY(64) NOT NULL,
	seen_at BIGINT        NOT NULL,
	PRIMARY KEY (user_id, hash),
	INDEX auth_clients_by_time (seen_at)
) ENGINE = InnoDB;

-- The devices that wait until a person approves them in a browser, or until they redeem the approval. There are
-- no foreign keys, because the host may have its own users table.
CREATE TABLE IF NOT EXISTS auth_device_codes (
	code_hash      VARBINARY(64)   NOT NULL PRIMARY KEY,
	user_code_hash VARBINARY(64)   NOT NULL,
	client_id      VARBINARY(64)   NOT NULL,
	scopes         VARBINARY(1024) NOT NULL, -- requested; after the approval, granted
	address        VARBINARY(64)   NOT NULL,
	user_agent     VARBINARY(256)  NOT NULL,
	created_at     BIGINT          NOT NULL,
	expires_at     BIGINT          NOT NULL,
	poll_interval  BIGINT          NOT NULL, -- in microseconds
	polled_at      BIGINT          NOT NULL, -- 0 before the first poll
	session_id     VARBINARY(64)   NOT NULL, -- '' if no session has claimed the code
	user_id        VARBINARY(64)   NOT NULL, -- of the session
	approved_at    BIGINT          NOT NULL, -- 0 if not approved
	denied_at      BIGINT          NOT NULL, -- 0 if not denied
	UNIQUE INDEX auth_device_codes_by_user_code (user_code_hash),
	INDEX auth_device_codes_by_expiry (expires_at),
	INDEX auth_device_codes_by_session (session_id)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
