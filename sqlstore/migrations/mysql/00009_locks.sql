-- +goose Up

-- Rows to lock for what is about more than one user. Whoever takes power away from
-- a super user holds 'super users' while looking for another who stays.
CREATE TABLE IF NOT EXISTS auth_locks (
	name VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT INTO auth_locks (name)
SELECT 'super users' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_locks WHERE name = 'super users');
