-- +goose Up

-- The clients from which each user has signed in, and when a user last did. The hash is of the User-Agent and
-- of the network of the client. There are no foreign keys, because the host may have its own users table.
CREATE TABLE IF NOT EXISTS auth_clients (
	user_id VARBINARY(64) NOT NULL,
	hash    VARBINARY(64) NOT NULL,
	seen_at BIGINT        NOT NULL,
	PRIMARY KEY (user_id, hash),
	INDEX auth_clients_by_time (seen_at)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
