-- +goose Up

-- The GitHub accounts that were ever linked, including those that are no longer linked. user_id is
-- the user to whom the account was last linked. Each account has one grant, which can make one user
-- a super user one time. grant_spent is 1 if the grant has been used.
--
-- For accounts that were linked before this table existed, no record says whether they have used
-- their grant. Their grant_spent is 1. With 0, a demoted super user could become a super user
-- again.
CREATE TABLE auth_github_accounts (
	host         TEXT    NOT NULL,
	account_id   INTEGER NOT NULL,
	user_id      TEXT    NOT NULL, -- '' if the store remembers no user for the account
	grant_spent  INTEGER NOT NULL CHECK (grant_spent IN (0, 1)),
	forgotten_at INTEGER NOT NULL, -- 0 if user_id is not ''
	PRIMARY KEY (host, account_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_github_accounts_by_user ON auth_github_accounts (user_id, host, account_id);
CREATE INDEX auth_github_accounts_by_time ON auth_github_accounts (forgotten_at) WHERE forgotten_at > 0;

INSERT INTO auth_github_accounts (host, account_id, user_id, grant_spent, forgotten_at)
SELECT host, account_id, user_id, 1, 0 FROM auth_github_links;

-- The accounts that were pruned after their grant was spent, as auth.GitHubAccount.Digest.
CREATE TABLE auth_spent_grants (
	digest TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
