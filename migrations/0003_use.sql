CREATE TABLE key_use (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);
CREATE INDEX key_use_by_time ON key_use (organization_id, last_used_at, key_id);
