-- +goose Up

-- The GitHub accounts that were ever linked, including those that are no longer linked. A row
-- has the user to whom the account was last linked. Each account has one grant, which can make
-- a user a super user once. grant_spent is 1 if the grant has been used.
--
-- For accounts that were linked before this table existed, no record says whether they have
-- used their grant. Their grant_spent is 1: with 0, a super user who was demoted could become
-- one again.
CREATE TABLE auth_github_accounts (
	host        TEXT    NOT NULL,
	account_id  INTEGER NOT NULL,
	user_id     TEXT    NOT NULL, -- '' if the account is remembered for no user
	grant_spent INTEGER NOT NULL CHECK (grant_spent IN (0, 1)),
	PRIMARY KEY (host, account_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_accounts_by_user ON auth_github_accounts (user_id);

INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent)
SELECT host, account_id, user_id, 1 FROM auth_github_links;
