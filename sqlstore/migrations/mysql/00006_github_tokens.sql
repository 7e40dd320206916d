-- +goose Up

CREATE TABLE IF NOT EXISTS auth_github_tokens (
	user_id     VARBINARY(64)   NOT NULL,
	host        VARBINARY(253)  NOT NULL,
	account_id  BIGINT          NOT NULL,
	version     VARBINARY(64)   NOT NULL, -- another with every write, but that of a lease
	scopes      VARBINARY(512)  NOT NULL,
	sealed      VARBINARY(4096) NOT NULL,
	lease_until BIGINT          NOT NULL, -- 0 where there is none
	updated_at  BIGINT          NOT NULL,
	PRIMARY KEY (user_id, host)
) ENGINE = InnoDB;
