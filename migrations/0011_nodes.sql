-- The processes that serve this database together, on PostgreSQL. On SQLite there is one, and no row.
CREATE TABLE node (
    id TEXT NOT NULL PRIMARY KEY,
    -- Its place in `usage_mark` and `usage_journal`.
    slot BIGINT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- The number of the change up to which it knows everything; below 0 it knows nothing and serves nothing.
    applied BIGINT NOT NULL,
    -- Until when it may answer from memory, by the database's clock.
    lease_until BIGINT NOT NULL,
    -- Since when it does not count any more; NULL: writers wait for it.
    lapsed_at BIGINT,
    -- How far its own clock is before the database's.
    clock_offset_ms BIGINT NOT NULL
);

-- Up to which number rows of the feed may be gone.
ALTER TABLE change_counter ADD COLUMN forgotten BIGINT NOT NULL DEFAULT 0;
