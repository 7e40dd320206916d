-- +goose Up

-- Rows to lock for what is about more than one user. Whoever takes power away from
-- a super user holds 'super users' while looking for another who stays.
CREATE TABLE auth_locks (
	name TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT INTO auth_locks (name) VALUES ('super users');
