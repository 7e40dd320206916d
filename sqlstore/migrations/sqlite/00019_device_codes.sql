-- +goose Up

-- The devices that wait until a person approves them in a browser, or until they redeem the approval. There are
-- no foreign keys, because the host may have its own users table.
CREATE TABLE auth_device_codes (
	code_hash      TEXT    NOT NULL PRIMARY KEY,
	user_code_hash TEXT    NOT NULL UNIQUE,
	client_id      TEXT    NOT NULL,
	scopes         TEXT    NOT NULL, -- requested; after the approval, granted
	address        TEXT    NOT NULL,
	user_agent     TEXT    NOT NULL,
	created_at     INTEGER NOT NULL,
	expires_at     INTEGER NOT NULL,
	poll_interval  INTEGER NOT NULL, -- in microseconds
	polled_at      INTEGER NOT NULL, -- 0 before the first poll
	session_id     TEXT    NOT NULL, -- '' if no session has claimed the code
	user_id        TEXT    NOT NULL, -- of the session
	approved_at    INTEGER NOT NULL, -- 0 if not approved
	denied_at      INTEGER NOT NULL  -- 0 if not denied
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_device_codes_by_expiry ON auth_device_codes (expires_at);
CREATE INDEX auth_device_codes_by_session ON auth_device_codes (session_id) WHERE approved_at > 0;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
