-- +goose Up

-- The values of the OAuth parameter "state" that have been used. Each value can
-- be used only one time.
CREATE TABLE auth_github_states (
	id         TEXT    NOT NULL PRIMARY KEY,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_states_by_expiry ON auth_github_states (expires_at);
