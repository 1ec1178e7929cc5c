-- Who used which key for what: counted in memory, written in bulk, apart from the keys' own rows and without foreign
-- keys, as the tables of 0003. A row stays when its key is deleted.

-- One row for what is told apart within an hour. `hour` counts hours of Unix time; `secret` is the secret's number, 0 where
-- only the key's id matched; `outcome` is `ok` or the refusal's code.
CREATE TABLE key_usage (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    hour BIGINT NOT NULL,
    secret BIGINT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    address TEXT NOT NULL,
    client TEXT NOT NULL,
    uses BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, hour, secret, operation, outcome, address, client)
);
CREATE INDEX key_usage_by_hour ON key_usage (organization_id, hour, key_id);
CREATE INDEX key_usage_of_refusals ON key_usage (organization_id, hour, key_id) WHERE outcome <> 'ok';

-- The same summed up over all keys of an organization, so that its curve need not read every key's rows.
CREATE TABLE organization_usage (
    organization_id TEXT NOT NULL,
    hour BIGINT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    uses BIGINT NOT NULL,
    PRIMARY KEY (organization_id, hour, operation, outcome)
);

-- From where each key was used with success, ever; `last_at` is exact to an hour.
CREATE TABLE key_address (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    address TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, address)
);
CREATE INDEX key_address_by_first ON key_address (organization_id, first_at, key_id);

-- What was counted and is not in the tables above yet. Written every second under load, so that a crash loses no more.
CREATE TABLE usage_journal (
    part BIGINT NOT NULL,
    number BIGINT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (part, number)
);
-- The number of the last write of counts: what was written once is not written again after a lost answer.
CREATE TABLE usage_mark (
    id BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO usage_mark (id, number) VALUES (1, 0);

-- The last use's circumstances, beside its time.
ALTER TABLE secret_use ADD COLUMN last_operation TEXT NOT NULL DEFAULT '';
ALTER TABLE secret_use ADD COLUMN last_address TEXT NOT NULL DEFAULT '';
ALTER TABLE secret_use ADD COLUMN last_client TEXT NOT NULL DEFAULT '';
-- When something was last told of a key's use, so that it is not told again too soon. `kind` is the outbox event's.
CREATE TABLE key_told (
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (key_id, kind)
);
