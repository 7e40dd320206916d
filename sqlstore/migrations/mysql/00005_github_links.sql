-- +goose Up

-- Which GitHub account signs in as whom: an account as one user at most, and a
-- user with one account of each host at most.
CREATE TABLE IF NOT EXISTS auth_github_links (
	host       VARBINARY(253) NOT NULL,
	account_id BIGINT         NOT NULL,
	user_id    VARBINARY(64)  NOT NULL,
	login      VARBINARY(512) NOT NULL,
	name       VARBINARY(512) NOT NULL,
	avatar_url VARBINARY(512) NOT NULL,
	created_at BIGINT         NOT NULL,
	seen_at    BIGINT         NOT NULL,
	PRIMARY KEY (host, account_id),
	UNIQUE (user_id, host)
) ENGINE = InnoDB;
