-- +goose Up

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
