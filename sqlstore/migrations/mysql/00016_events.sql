-- +goose Up

-- The audit trail: the events of lasting changes. The transaction that makes a change also adds the
-- event. There are no foreign keys, so that an event stays when its user is deleted. A missing text
-- is '', and a missing github_id is 0.
CREATE TABLE IF NOT EXISTS auth_events (
	id            VARBINARY(64)  NOT NULL PRIMARY KEY, -- random
	at            BIGINT         NOT NULL,
	kind          VARBINARY(64)  NOT NULL,
	user_id       VARBINARY(64)  NOT NULL,
	actor_id      VARBINARY(64)  NOT NULL,
	by_host       VARBINARY(64)  NOT NULL,
	session_id    VARBINARY(64)  NOT NULL,
	access_key    VARBINARY(128) NOT NULL,
	method        VARBINARY(64)  NOT NULL,
	github_host   VARBINARY(253) NOT NULL,
	github_id     BIGINT         NOT NULL,
	reason        VARBINARY(512) NOT NULL,
	address       VARBINARY(64)  NOT NULL, -- '' in this and the next two columns if the actor was deleted
	user_agent    VARBINARY(256) NOT NULL,
	request_id    VARBINARY(256) NOT NULL,
	pending       TINYINT        NOT NULL CHECK (pending IN (0, 1)), -- 1 while the event waits for delivery
	claimed_until BIGINT         NOT NULL, -- until then, one instance tries to deliver the event
	attempts      BIGINT         NOT NULL,
	INDEX auth_events_by_time (at, id),
	INDEX auth_events_by_user (user_id, at, id),
	INDEX auth_events_by_kind (kind, at, id),
	INDEX auth_events_by_actor (actor_id, at, id),
	INDEX auth_events_pending (pending, at, id),
	INDEX auth_events_pending_by_user (pending, user_id, at, id)
) ENGINE = InnoDB;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
