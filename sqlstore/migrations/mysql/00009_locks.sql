-- +goose Up

-- Each row is a lock for a change that concerns several users. A transaction
-- that demotes, disables or deletes a super user locks the row 'super users',
-- and then looks for another super user who remains.
CREATE TABLE IF NOT EXISTS auth_locks (
	name VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT INTO auth_locks (name)
SELECT 'super users' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_locks WHERE name = 'super users');

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
