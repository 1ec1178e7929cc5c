-- What editing, rotating, finding and retrying need. `search` is the name in small letters and the description after a line
-- end; `expires_at` repeats what is in `conditions`, so that a list can filter by it (filled by the program for older rows).

ALTER TABLE secret_key ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE secret_key ADD COLUMN search TEXT NOT NULL DEFAULT '';
ALTER TABLE secret_key ADD COLUMN expires_at BIGINT;
ALTER TABLE secret_key ADD COLUMN rotate_every_ms BIGINT;
ALTER TABLE secret_key ADD COLUMN rotated_at BIGINT;
ALTER TABLE secret_key ADD COLUMN rotation_due_at BIGINT;
-- How urgent the last reminder of this due date was: 0 none, 1 due soon, 2 due, 3 overdue.
ALTER TABLE secret_key ADD COLUMN due_told BIGINT NOT NULL DEFAULT 0;
UPDATE secret_key SET search = LOWER(name);
CREATE INDEX secret_key_by_due ON secret_key (rotation_due_at, id);
-- What a list is sorted by.
CREATE INDEX secret_key_by_creation ON secret_key (organization_id, created_at, id);
-- The beginning alone: PostgreSQL refuses a row whose index entry would be larger than a third of a page.
CREATE INDEX secret_key_by_name ON secret_key (organization_id, (SUBSTR(search, 1, 100)), id);

-- Only of a pending secret: how long the other one stays after the first use of this one.
ALTER TABLE secret ADD COLUMN grace_ms BIGINT;
ALTER TABLE secret ADD COLUMN ended_at BIGINT;
CREATE INDEX secret_by_end ON secret (valid_until, key_id) WHERE valid_until IS NOT NULL;

-- Requests that carried an idempotency key: who asked for what, and which key came of it. `sealed` is the value, readable only
-- with the idempotency key, and emptied after ten minutes.
CREATE TABLE idempotency (
    attempt BYTEA NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    request BYTEA NOT NULL,
    key_id TEXT NOT NULL,
    keyring_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- What a dry run showed, so that the real run ends that and nothing else.
CREATE TABLE bulk_preview (
    token BYTEA NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    request TEXT NOT NULL,
    items TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX bulk_preview_by_age ON bulk_preview (created_at);
