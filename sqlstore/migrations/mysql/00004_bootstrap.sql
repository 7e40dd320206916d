-- +goose Up

-- One row at most: its primary key decides which call to Bootstrap was the first.
CREATE TABLE IF NOT EXISTS auth_bootstrap (
	id      TINYINT       NOT NULL PRIMARY KEY CHECK (id = 1),
	user_id VARBINARY(64) NOT NULL
) ENGINE = InnoDB;
