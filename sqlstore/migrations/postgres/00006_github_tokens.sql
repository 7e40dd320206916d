-- +goose Up

CREATE TABLE auth_github_tokens (
	user_id     TEXT   NOT NULL,
	host        TEXT   NOT NULL,
	account_id  BIGINT NOT NULL,
	version     TEXT   NOT NULL, -- another with every write, but that of a lease
	scopes      TEXT   NOT NULL,
	sealed      BYTEA  NOT NULL,
	lease_until BIGINT NOT NULL, -- 0 where there is none
	updated_at  BIGINT NOT NULL,
	PRIMARY KEY (user_id, host)
);
