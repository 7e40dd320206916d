-- +goose Up

-- The states that have been used.
CREATE TABLE IF NOT EXISTS auth_github_states (
	id         VARBINARY(64) NOT NULL PRIMARY KEY,
	expires_at BIGINT        NOT NULL,
	INDEX auth_github_states_by_expiry (expires_at)
) ENGINE = InnoDB;
