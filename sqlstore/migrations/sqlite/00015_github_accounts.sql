-- +goose Up

-- The GitHub accounts that were ever linked, apart from their links: the user that an account was
-- last linked to, and whether it has used its one grant to make a user a super user.
--
-- Of the accounts that are linked now, no record says whether they have used their grant. They
-- count as if they had: otherwise a super user who was demoted would be one again.
CREATE TABLE auth_github_accounts (
	host        TEXT    NOT NULL,
	account_id  INTEGER NOT NULL,
	user_id     TEXT    NOT NULL, -- '' if the account is remembered for nobody
	grant_spent INTEGER NOT NULL CHECK (grant_spent IN (0, 1)),
	PRIMARY KEY (host, account_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_accounts_by_user ON auth_github_accounts (user_id);

INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent)
SELECT host, account_id, user_id, 1 FROM auth_github_links;
