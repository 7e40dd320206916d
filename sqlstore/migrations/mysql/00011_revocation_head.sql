-- +goose Up

-- One row, with the position of the newest entry of the feed. Whoever adds entries
-- holds it until the commit.
CREATE TABLE IF NOT EXISTS auth_revocation_head (
	id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	position BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO auth_revocation_head (id, position)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM auth_revocation_head WHERE id = 1);
