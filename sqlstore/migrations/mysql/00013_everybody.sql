-- +goose Up

-- One row. Every lasting change locks it shared, and the revocation of all sessions of all
-- users locks it exclusively, so that the one waits for the other. Sessions below the generation
-- are revoked; it is 0 until all sessions are revoked for the first time.
CREATE TABLE IF NOT EXISTS auth_everybody (
	id         BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	generation BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO auth_everybody (id, generation)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_everybody WHERE id = 1);
