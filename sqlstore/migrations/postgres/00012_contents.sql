-- +goose Up

-- One row, written by the first program that opens the tables: 'users' if sqlstore.Open was
-- that program's call, 'accounts' if it was sqlstore.OpenAccounts. The primary key decides
-- between two that open empty tables at the same time.
CREATE TABLE auth_contents (
	id    SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
	keeps TEXT     NOT NULL CHECK (keeps IN ('users', 'accounts'))
);
