-- +goose Up

-- The audit trail: the events of lasting changes, each added in the transaction of its change.
-- There are no foreign keys: an event stays when its user is deleted. Text is '' and github_id 0
-- where there is none.
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
	address       VARBINARY(64)  NOT NULL, -- '' also if the actor has been deleted, as in the next two columns
	user_agent    VARBINARY(256) NOT NULL,
	request_id    VARBINARY(256) NOT NULL,
	pending       TINYINT        NOT NULL CHECK (pending IN (0, 1)), -- 1 while it waits for delivery
	claimed_until BIGINT         NOT NULL, -- an instance delivers it until then
	attempts      BIGINT         NOT NULL,
	INDEX auth_events_by_time (at, id),
	INDEX auth_events_by_user (user_id, at, id),
	INDEX auth_events_by_kind (kind, at, id),
	INDEX auth_events_by_actor (actor_id),
	INDEX auth_events_pending (pending, at, id),
	INDEX auth_events_pending_by_user (pending, user_id, at, id)
) ENGINE = InnoDB;
