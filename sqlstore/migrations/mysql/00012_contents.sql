-- +goose Up

-- One row, written by the first program that opens the tables: 'users' if sqlstore.Open was
-- that program's call, 'accounts' if it was sqlstore.OpenAccounts. The primary key decides
-- between two that open empty tables at the same time.
CREATE TABLE IF NOT EXISTS auth_contents (
	id    TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	keeps VARBINARY(64) NOT NULL CHECK (keeps IN ('users', 'accounts'))
) ENGINE = InnoDB;
