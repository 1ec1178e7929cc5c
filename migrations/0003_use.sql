-- When keys were last used. Written by a background task in bulk, apart from the keys' own rows, so that no write of a
-- key waits for it; there are no foreign keys for the same reason.

CREATE TABLE key_use (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);
CREATE INDEX key_use_by_time ON key_use (organization_id, last_used_at, key_id);

CREATE TABLE secret_use (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, number)
);
