-- +goose Up

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

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
