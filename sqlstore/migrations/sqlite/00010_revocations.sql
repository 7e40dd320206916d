-- +goose Up

-- The feed of revocations: sessions that have ended before they expired, in the
-- order of the commits.
CREATE TABLE auth_revocations (
	position   INTEGER NOT NULL PRIMARY KEY,
	id         TEXT    NOT NULL, -- random
	user_id    TEXT    NOT NULL,
	session_id TEXT    NOT NULL, -- '' for all sessions below the generation
	generation INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_revocations_by_user ON auth_revocations (user_id, generation);
CREATE INDEX auth_revocations_by_expiry ON auth_revocations (expires_at);
