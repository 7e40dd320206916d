-- +goose Up

-- The states that have been used.
CREATE TABLE auth_github_states (
	id         TEXT    NOT NULL PRIMARY KEY,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_states_by_expiry ON auth_github_states (expires_at);
