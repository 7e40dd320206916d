-- +goose Up

-- The GitHub accounts that were ever linked, apart from their links: the user that an account was
-- last linked to, and whether it has used its one grant to make a user a super user.
--
-- Of the accounts that are linked now, no record says whether they have used their grant. They
-- count as if they had: otherwise a super user who was demoted would be one again.
CREATE TABLE IF NOT EXISTS auth_github_accounts (
	host        VARBINARY(253) NOT NULL,
	account_id  BIGINT         NOT NULL,
	user_id     VARBINARY(64)  NOT NULL, -- '' if the account is remembered for nobody
	grant_spent TINYINT        NOT NULL CHECK (grant_spent IN (0, 1)),
	PRIMARY KEY (host, account_id),
	INDEX auth_github_accounts_by_user (user_id)
) ENGINE = InnoDB;

INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent)
SELECT l.host, l.account_id, l.user_id, 1 FROM auth_github_links l
WHERE NOT EXISTS (SELECT 1 FROM auth_github_accounts a WHERE a.host = l.host AND a.account_id = l.account_id);
