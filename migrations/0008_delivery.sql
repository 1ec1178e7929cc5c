-- Who is told what: the channel of each security contact, and one delivery for each event and contact.

-- `contact` is made from the address. `sealed` is a webhook's signing secret; a mail contact has none, and version 0.
CREATE TABLE security_contact (
    organization_id TEXT NOT NULL,
    contact TEXT NOT NULL,
    kind TEXT NOT NULL,
    address TEXT NOT NULL,
    keyring_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    -- Since when nothing arrived; not to be called before; switched off, and why.
    failing_since BIGINT,
    retry_at BIGINT,
    disabled_at BIGINT,
    disabled_reason TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, contact)
);
CREATE INDEX security_contact_by_keyring_version ON security_contact (keyring_version, organization_id, contact);

-- `number` is the outbox event's. `next_attempt_at` is there as long as it is to be sent, `finished_at` from then on.
CREATE TABLE delivery (
    organization_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    contact TEXT NOT NULL,
    contact_kind TEXT NOT NULL,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    finished_at BIGINT,
    last_status BIGINT,
    last_error TEXT,
    PRIMARY KEY (organization_id, number, contact)
);
CREATE INDEX delivery_by_due ON delivery (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX delivery_by_order ON delivery (organization_id, contact, key_id, number) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX delivery_by_age ON delivery (finished_at) WHERE finished_at IS NOT NULL;

-- How far the outbox was turned into deliveries. What happened before anybody could be told is not told.
INSERT INTO setting (name, value)
    SELECT 'delivery.cursor', CAST(COALESCE(MAX(number), 0) AS TEXT) FROM outbox;

-- One more reminder of a rotation, 3 days before: 0 none, 1 in 14 days, 2 in 3 days, 3 due, 4 overdue.
UPDATE secret_key SET due_told = due_told + 1 WHERE due_told >= 2;
-- How urgent the last reminder of the expiry was: 0 none, 1 in 14 days, 2 in 3 days, 3 expired.
ALTER TABLE secret_key ADD COLUMN expiry_told BIGINT NOT NULL DEFAULT 0;
CREATE INDEX secret_key_by_expiry ON secret_key (expires_at, id) WHERE expires_at IS NOT NULL AND expiry_told < 3;
