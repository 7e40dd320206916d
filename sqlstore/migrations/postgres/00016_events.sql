-- +goose Up

-- The audit trail: the events of lasting changes, each added in the transaction of its change.
-- There are no foreign keys: an event stays when its user is deleted. Text is '' and github_id 0
-- where there is none.
CREATE TABLE auth_events (
	id            TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- random
	at            BIGINT   NOT NULL,
	kind          TEXT     NOT NULL,
	user_id       TEXT     NOT NULL,
	actor_id      TEXT     NOT NULL,
	by_host       TEXT     NOT NULL,
	session_id    TEXT     NOT NULL,
	access_key    TEXT     NOT NULL,
	method        TEXT     NOT NULL,
	github_host   TEXT     NOT NULL,
	github_id     BIGINT   NOT NULL,
	reason        TEXT     NOT NULL,
	address       TEXT     NOT NULL, -- '' also if the actor has been deleted, as in the next two columns
	user_agent    TEXT     NOT NULL,
	request_id    TEXT     NOT NULL,
	pending       SMALLINT NOT NULL CHECK (pending IN (0, 1)), -- 1 while it waits for delivery
	claimed_until BIGINT   NOT NULL, -- an instance delivers it until then
	attempts      BIGINT   NOT NULL
);

CREATE INDEX auth_events_by_time ON auth_events (at, id);
CREATE INDEX auth_events_by_user ON auth_events (user_id, at, id);
CREATE INDEX auth_events_by_kind ON auth_events (kind, at, id);
CREATE INDEX auth_events_by_actor ON auth_events (actor_id);
CREATE INDEX auth_events_pending ON auth_events (at, id) WHERE pending = 1;
CREATE INDEX auth_events_pending_by_user ON auth_events (user_id, at, id) WHERE pending = 1;
