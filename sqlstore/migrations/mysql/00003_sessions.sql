-- +goose Up

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

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
