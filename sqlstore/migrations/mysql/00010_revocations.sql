-- +goose Up

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

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
