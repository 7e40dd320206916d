-- +goose Up

-- The audit trail: the events of lasting changes. The transaction that makes a change also adds the
-- event. There are no foreign keys, so that an event stays when its user is deleted. A missing text
-- is '', and a missing github_id is 0.
CREATE TABLE auth_events (
	id            TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- random
	at            BIGINT           NOT NULL,
	kind          TEXT COLLATE "C" NOT NULL,
	user_id       TEXT COLLATE "C" NOT NULL,
	actor_id      TEXT COLLATE "C" NOT NULL,
	by_host       TEXT             NOT NULL,
	session_id    TEXT COLLATE "C" NOT NULL,
	access_key    TEXT             NOT NULL,
	method        TEXT             NOT NULL,
	github_host   TEXT             NOT NULL,
	github_id     BIGINT           NOT NULL,
	reason        TEXT             NOT NULL,
	address       TEXT             NOT NULL, -- '' in this and the next two columns if the actor was deleted
	user_agent    TEXT             NOT NULL,
	request_id    TEXT COLLATE "C" NOT NULL,
	pending       SMALLINT         NOT NULL CHECK (pending IN (0, 1)), -- 1 while the event waits for delivery
	claimed_until BIGINT           NOT NULL, -- until then, one instance tries to deliver the event
	attempts      BIGINT           NOT NULL
);

CREATE INDEX auth_events_by_time ON auth_events (at, id);
CREATE INDEX auth_events_by_user ON auth_events (user_id, at, id);
CREATE INDEX auth_events_by_kind ON auth_events (kind, at, id);
CREATE INDEX auth_events_by_actor ON auth_events (actor_id, at, id);
CREATE INDEX auth_events_pending ON auth_events (at, id) WHERE pending = 1;
CREATE INDEX auth_events_pending_by_user ON auth_events (user_id, at, id) WHERE pending = 1;

-- +goose Down

-- This statement fails, because the table does not exist. So nobody can revert the
-- migration by mistake. To go back, restore a backup of the earlier tables.
SELECT 1 FROM auth_has_no_way_back_restore_a_backup;
