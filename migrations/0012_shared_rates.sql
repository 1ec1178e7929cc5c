-- The buckets of rate limits that hold over all nodes, where that is asked for; what is spent is counted here for all of them.
CREATE TABLE rate_bucket (
    key_id TEXT NOT NULL PRIMARY KEY,
    requests BIGINT NOT NULL,
    per_ms BIGINT NOT NULL,
    debt BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX rate_bucket_by_time ON rate_bucket (at);
