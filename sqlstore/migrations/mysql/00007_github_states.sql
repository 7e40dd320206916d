-- +goose Up

-- The values of the OAuth parameter "state" that have been used. Each value can
-- be used only one time.
CREATE TABLE IF NOT EXISTS auth_github_states (
	id         VARBINARY(64) NOT NULL PRIMARY KEY,
	expires_at BIGINT        NOT NULL,
	INDEX auth_github_states_by_expiry (expires_at)
) ENGINE = InnoDB;
