-- +goose Up

-- Each row is a lock for a change that concerns several users. A transaction
-- that demotes, disables or deletes a super user locks the row 'super users',
-- and then looks for another super user who remains.
CREATE TABLE auth_locks (
	name TEXT NOT NULL PRIMARY KEY
);

INSERT INTO auth_locks (name) VALUES ('super users');
