-- +goose Up

-- This table has one row, with the position of the newest entry in
-- auth_revocations. A transaction that adds entries locks the row until it
-- ends.
CREATE TABLE IF NOT EXISTS auth_revocation_head (
	id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	position BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO auth_revocation_head (id, position)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_revocation_head WHERE id = 1);

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
