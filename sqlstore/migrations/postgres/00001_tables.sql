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

-- Among many users, few are disabled, super users or service users. The store lists these users with
-- indexes of their own, by ID and by name. So a page of them does not pass over all other users. The
-- indexes take little space, because they contain only these users.
CREATE INDEX auth_users_inactive ON auth_users (id) WHERE is_active = 0;
CREATE INDEX auth_users_inactive_by_username ON auth_users (username_folded) WHERE is_active = 0;
CREATE INDEX auth_users_inactive_by_email ON auth_users (email_folded) WHERE is_active = 0;
CREATE INDEX auth_users_super ON auth_users (id) WHERE is_super_user = 1;
CREATE INDEX auth_users_super_by_username ON auth_users (username_folded) WHERE is_super_user = 1;
CREATE INDEX auth_users_super_by_email ON auth_users (email_folded) WHERE is_super_user = 1;
CREATE INDEX auth_users_services_by_username ON auth_users (username_folded) WHERE is_service = 1;
CREATE INDEX auth_users_services_by_email ON auth_users (email_folded) WHERE is_service = 1;

CREATE TABLE auth_access_keys (
	id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	user_id          TEXT COLLATE "C" NOT NULL,
	hash             TEXT             NOT NULL,
	label            TEXT             NOT NULL,
	created_at       BIGINT           NOT NULL,
	expires_at       BIGINT           NOT NULL,
	previous_hash    TEXT             NOT NULL, -- '' if there is none
	previous_until   BIGINT           NOT NULL,
	last_used_at     BIGINT           NOT NULL,
	scopes           TEXT, -- NULL if the key has no limit
	must_rotate      SMALLINT         NOT NULL CHECK (must_rotate IN (0, 1)),
	expiry_notice_at BIGINT           NOT NULL
);

CREATE INDEX auth_access_keys_by_user ON auth_access_keys (user_id, created_at, id);
CREATE INDEX auth_access_keys_by_expiry ON auth_access_keys (expires_at) WHERE expires_at > 0;
CREATE INDEX auth_access_keys_by_overlap ON auth_access_keys (previous_until) WHERE previous_until > 0;

CREATE TABLE auth_sessions (
	id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	user_id       TEXT COLLATE "C" NOT NULL,
	method        TEXT             NOT NULL,
	access_key_id TEXT COLLATE "C" NOT NULL, -- '' if no access key opened the session
	created_at    BIGINT           NOT NULL,
	expires_at    BIGINT           NOT NULL,
	user_agent    TEXT             NOT NULL,
	address       TEXT             NOT NULL,
	generation    BIGINT           NOT NULL,
	scopes        TEXT, -- NULL if the session has no limit
	audience      TEXT             NOT NULL -- '' if it is the issuer
);

CREATE INDEX auth_sessions_by_user ON auth_sessions (user_id, created_at, generation, id);
CREATE INDEX auth_sessions_by_access_key ON auth_sessions (access_key_id);
CREATE INDEX auth_sessions_by_expiry ON auth_sessions (expires_at);

-- This table has at most one row. If several calls of Bootstrap run at the same
-- time, the primary key lets only one of them insert the row.
CREATE TABLE auth_bootstrap (
	id      SMALLINT         NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id TEXT COLLATE "C" NOT NULL
);

-- A row links a GitHub account to the user who signs in with it. An account is
-- linked to at most one user. A user is linked to at most one account of each
-- GitHub host.
CREATE TABLE auth_github_links (
	host       TEXT COLLATE "C" NOT NULL,
	account_id BIGINT           NOT NULL,
	user_id    TEXT COLLATE "C" NOT NULL,
	login      TEXT             NOT NULL,
	name       TEXT             NOT NULL,
	avatar_url TEXT             NOT NULL,
	created_at BIGINT           NOT NULL,
	seen_at    BIGINT           NOT NULL,
	PRIMARY KEY (host, account_id),
	UNIQUE (user_id, host)
);

CREATE TABLE auth_github_tokens (
	user_id     TEXT COLLATE "C" NOT NULL,
	host        TEXT COLLATE "C" NOT NULL,
	account_id  BIGINT           NOT NULL,
	version     TEXT             NOT NULL, -- changes with every write, except the write of a lease
	scopes      TEXT             NOT NULL,
	sealed      BYTEA            NOT NULL,
	lease_until BIGINT           NOT NULL, -- 0 if there is no lease
	updated_at  BIGINT           NOT NULL,
	PRIMARY KEY (user_id, host)
);

-- The values of the OAuth parameter "state" that have been used. Each value can
-- be used only one time.
CREATE TABLE auth_github_states (
	id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	expires_at BIGINT           NOT NULL
);

CREATE INDEX auth_github_states_by_expiry ON auth_github_states (expires_at);

-- The usernames of deleted users, and those that users have given up, folded with auth.FoldASCII. Only the
-- user with the ID user_id can take the username again.
CREATE TABLE auth_retired_usernames (
	username_folded TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	user_id         TEXT COLLATE "C" NOT NULL,
	retired_at      BIGINT           NOT NULL
);

CREATE INDEX auth_retired_usernames_by_user ON auth_retired_usernames (user_id, username_folded);
CREATE INDEX auth_retired_usernames_by_time ON auth_retired_usernames (retired_at);

-- Each row is a lock for a change that concerns several users. A transaction
-- that demotes, disables or deletes a super user locks the row 'super users',
-- and then looks for another super user who remains.
CREATE TABLE auth_locks (
	name TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

INSERT INTO auth_locks (name) VALUES ('super users');

-- The revocation feed. Its entries revoke sessions that have not expired. The
-- positions of the entries are in the order of the commits.
CREATE TABLE auth_revocations (
	position   BIGINT           NOT NULL PRIMARY KEY,
	id         TEXT COLLATE "C" NOT NULL, -- random
	user_id    TEXT COLLATE "C" NOT NULL,
	session_id TEXT COLLATE "C" NOT NULL, -- '' for all sessions with a lower generation
	generation BIGINT           NOT NULL,
	expires_at BIGINT           NOT NULL
);

CREATE INDEX auth_revocations_by_expiry ON auth_revocations (expires_at);

-- The entries in force. Without this index, each revocation of a session would also read the
-- replaced entries of its user.
CREATE INDEX auth_revocations_in_force ON auth_revocations (user_id) WHERE expires_at > 0;

-- This table has one row, with the position of the newest entry in
-- auth_revocations. A transaction that adds entries locks the row until it
-- ends.
CREATE TABLE auth_revocation_head (
	id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	position BIGINT NOT NULL
);

INSERT INTO auth_revocation_head (id, position) VALUES (1, 0);

-- This table has at most one row, which the first program that opens the tables inserts. The row
-- has 'users' if the program calls sqlstore.Open, and 'accounts' if it calls sqlstore.OpenAccounts.
-- If two programs open empty tables at the same time, the primary key lets only one of them insert
-- the row.
CREATE TABLE auth_contents (
	id    SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
	keeps TEXT     NOT NULL CHECK (keeps IN ('users', 'accounts'))
);

-- This table has one row. Every transaction that makes a lasting change takes a shared lock on the
-- row. A transaction that revokes all sessions of all users takes an exclusive lock instead. So no
-- other lasting change runs at the same time.
--
-- Sessions with a generation below that of the row are revoked. The generation of the row is 0
-- until all sessions are revoked for the first time.
CREATE TABLE auth_everybody (
	id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	generation BIGINT NOT NULL
);

INSERT INTO auth_everybody (id, generation) VALUES (1, 0);

-- If the host has its own users table, each row of this table is the lock for one user. The first
-- change that concerns the user inserts the row, with the ID of the user. Nothing removes the row.
-- If the users are in auth_users, this table is empty.
CREATE TABLE auth_host_users (
	id TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

-- The GitHub accounts that were ever linked, including those that are no longer linked. user_id is
-- the user to whom the account was last linked. Each account has one grant, which can make one user
-- a super user one time. grant_spent is 1 if the grant has been used.
CREATE TABLE auth_github_accounts (
	host         TEXT COLLATE "C" NOT NULL,
	account_id   BIGINT           NOT NULL,
	user_id      TEXT COLLATE "C" NOT NULL, -- '' if the store remembers no user for the account
	grant_spent  SMALLINT         NOT NULL CHECK (grant_spent IN (0, 1)),
	forgotten_at BIGINT           NOT NULL, -- 0 if user_id is not ''
	PRIMARY KEY (host, account_id)
);

CREATE INDEX auth_github_accounts_by_user ON auth_github_accounts (user_id, host, account_id);
CREATE INDEX auth_github_accounts_by_time ON auth_github_accounts (forgotten_at) WHERE forgotten_at > 0;

-- The accounts that were pruned after their grant was spent, as auth.GitHubAccount.Digest.
CREATE TABLE auth_spent_grants (
	digest TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

-- The audit trail: the events of lasting changes. The transaction that makes a change also adds the
-- event. There are no foreign keys, so that an event stays when its user is deleted. A missing text
-- is '', and a missing github_id is 0.
CREATE TABLE auth_events (
	id            TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- random
	at            BIGINT           NOT NULL,
	kind          TEXT COLLATE "C" NOT NULL,
	user_id       TEXT COLLATE "C" NOT NULL,
	actor_id      TEXT COLLATE "C" NOT NULL,
	by_host       TEXT             NOT NULL,
	session_id    TEXT COLLATE "C" NOT NULL,
	access_key    TEXT             NOT NULL,
	method        TEXT             NOT NULL,
	github_host   TEXT             NOT NULL,
	github_id     BIGINT           NOT NULL,
	reason        TEXT             NOT NULL,
	address       TEXT             NOT NULL, -- '' in this and the next two columns if the actor was deleted
	user_agent    TEXT             NOT NULL,
	request_id    TEXT COLLATE "C" NOT NULL,
	pending       SMALLINT         NOT NULL CHECK (pending IN (0, 1)), -- 1 while the event waits for delivery
	claimed_until BIGINT           NOT NULL, -- until then, one instance tries to deliver the event
	attempts      BIGINT           NOT NULL
);

CREATE INDEX auth_events_by_time ON auth_events (at, id);
CREATE INDEX auth_events_by_user ON auth_events (user_id, at, id);
CREATE INDEX auth_events_by_kind ON auth_events (kind, at, id);
CREATE INDEX auth_events_by_actor ON auth_events (actor_id, at, id);
CREATE INDEX auth_events_pending ON auth_events (at, id) WHERE pending = 1;
CREATE INDEX auth_events_pending_by_user ON auth_events (user_id, at, id) WHERE pending = 1;

-- The clients from which each user has signed in, and when a user last did. The hash is of the User-Agent and
-- of the network of the client. There are no foreign keys, because the host may have its own users table.
CREATE TABLE auth_clients (
	user_id TEXT COLLATE "C" NOT NULL,
	hash    TEXT COLLATE "C" NOT NULL,
	seen_at BIGINT           NOT NULL,
	PRIMARY KEY (user_id, hash)
);

CREATE INDEX auth_clients_by_time ON auth_clients (seen_at);

-- The devices that wait until a person approves them in a browser, or until they redeem the approval. There are
-- no foreign keys, because the host may have its own users table.
CREATE TABLE auth_device_codes (
	code_hash      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	user_code_hash TEXT COLLATE "C" NOT NULL UNIQUE,
	client_id      TEXT             NOT NULL,
	scopes         TEXT             NOT NULL, -- requested; after the approval, granted
	address        TEXT             NOT NULL,
	user_agent     TEXT             NOT NULL,
	created_at     BIGINT           NOT NULL,
	expires_at     BIGINT           NOT NULL,
	poll_interval  BIGINT           NOT NULL, -- in microseconds
	polled_at      BIGINT           NOT NULL, -- 0 before the first poll
	session_id     TEXT COLLATE "C" NOT NULL, -- '' if no session has claimed the code
	user_id        TEXT COLLATE "C" NOT NULL, -- of the session
	approved_at    BIGINT           NOT NULL, -- 0 if not approved
	denied_at      BIGINT           NOT NULL  -- 0 if not denied
);

CREATE INDEX auth_device_codes_by_expiry ON auth_device_codes (expires_at);
CREATE INDEX auth_device_codes_by_session ON auth_device_codes (session_id) WHERE approved_at > 0;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
