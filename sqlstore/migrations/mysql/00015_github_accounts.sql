-- +goose Up

-- The GitHub accounts that were ever linked, including those that are no longer linked. user_id is
-- the user to whom the account was last linked. Each account has one grant, which can make one user
-- a super user one time. grant_spent is 1 if the grant has been used.
--
-- For accounts that were linked before this table existed, no record says whether they have used
-- their grant. Their grant_spent is 1. With 0, a demoted super user could become a super user
-- again.
CREATE TABLE IF NOT EXISTS auth_github_accounts (
	host         VARBINARY(253) NOT NULL,
	account_id   BIGINT         NOT NULL,
	user_id      VARBINARY(64)  NOT NULL, -- '' if the store remembers no user for the account
	grant_spent  TINYINT        NOT NULL CHECK (grant_spent IN (0, 1)),
	forgotten_at BIGINT         NOT NULL, -- 0 if user_id is not ''
	PRIMARY KEY (host, account_id),
	INDEX auth_github_accounts_by_user (user_id, host, account_id),
	INDEX auth_github_accounts_by_time (forgotten_at)
) ENGINE = InnoDB;

INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent, forgotten_at)
SELECT l.host, l.account_id, l.user_id, 1, 0 FROM auth_github_links l
WHERE NOT EXISTS (SELECT 1 FROM auth_github_accounts a WHERE a.host = l.host AND a.account_id = l.account_id);

-- The accounts that were pruned after their grant was spent, as auth.GitHubAccount.Digest.
CREATE TABLE IF NOT EXISTS auth_spent_grants (
	digest VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
