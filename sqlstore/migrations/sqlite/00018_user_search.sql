-- +goose Up

-- Among many users, few are disabled, super users or service users. The store lists these users with
-- indexes of their own, by ID and by name. So a page of them does not pass over all other users. The
-- indexes take little space, because they contain only these users.
CREATE INDEX auth_users_inactive ON auth_users (id) WHERE is_active = 0;
CREATE INDEX auth_users_inactive_by_username ON auth_users (username_folded) WHERE is_active = 0;
CREATE INDEX auth_users_inactive_by_email ON auth_users (email_folded) WHERE is_active = 0;
CREATE INDEX auth_users_super ON auth_users (id) WHERE is_super_user = 1;
CREATE INDEX auth_users_super_by_username ON auth_users (username_folded) WHERE is_super_user = 1;
CREATE INDEX auth_users_super_by_email ON auth_users (email_folded) WHERE is_super_user = 1;
CREATE INDEX auth_users_services_by_username ON auth_users (username_folded) WHERE is_service = 1;
CREATE INDEX auth_users_services_by_email ON auth_users (email_folded) WHERE is_service = 1;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
