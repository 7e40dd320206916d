-- +goose Up

-- Among many users, few are disabled or service users. The store lists these users with indexes of
-- their own. So a page of them does not pass over all other users. An index has an entry for each
-- user, because there are no indexes of some rows. So there are few indexes: the store reads all super
-- users with auth_users_who_administer, and all service users whose e-mail it searches with
-- auth_users_by_kind, unless fewer users match the search.
--
-- ALTER TABLE fails if the indexes exist. So the migration first looks whether an earlier run has
-- added them. ALTER TABLE adds all of them or none.
SET @statement = IF(
	EXISTS (SELECT 1 FROM information_schema.statistics
		WHERE table_schema = DATABASE() AND table_name = 'auth_users' AND index_name = 'auth_users_inactive'),
	'DO 0',
	'ALTER TABLE auth_users
		ADD INDEX auth_users_inactive (is_active, id),
		ADD INDEX auth_users_inactive_by_username (is_active, username_folded),
		ADD INDEX auth_users_inactive_by_email (is_active, email_folded),
		ADD INDEX auth_users_services_by_username (is_service, username_folded)');
PREPARE add_indexes FROM @statement;
EXECUTE add_indexes;
DEALLOCATE PREPARE add_indexes;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
