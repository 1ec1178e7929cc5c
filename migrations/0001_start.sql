-- The first schema. One text for SQLite and PostgreSQL: TEXT ids, BIGINT milliseconds, BOOLEAN, BYTEA, JSON as TEXT;
-- no functions, sequences or defaults of either dialect. Rules for changes are in migrations/README.md.

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The single row whose lock orders all changes to keys; `epoch` fences a writer that lost its right.
CREATE TABLE change_counter (
    id BIGINT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
INSERT INTO change_counter (id, value, epoch) VALUES (1, 0, 0);

CREATE TABLE organization (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    preference TEXT NOT NULL,
    attributes TEXT NOT NULL,
    last_access_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE person (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX person_by_email ON person (email);

CREATE TABLE membership (
    organization_id TEXT NOT NULL REFERENCES organization (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, person_id)
);

CREATE TABLE secret_key (
    id TEXT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organization (id),
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT,
    deleted_at BIGINT,
    scopes BIGINT NOT NULL,
    level TEXT NOT NULL,
    rules TEXT NOT NULL,
    conditions TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    environment TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX secret_key_by_organization ON secret_key (organization_id, id);
CREATE INDEX secret_key_by_state ON secret_key (state, id);

CREATE TABLE secret (
    key_id TEXT NOT NULL REFERENCES secret_key (id),
    number BIGINT NOT NULL,
    life TEXT NOT NULL,
    valid_until BIGINT,
    keyring_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    hint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, number)
);
CREATE INDEX secret_by_keyring_version ON secret (keyring_version, key_id, number);

CREATE TABLE change_feed (
    number BIGINT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE outbox (
    number BIGINT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The head of each chain; its row lock gives the entries their order.
CREATE TABLE audit_head (
    chain TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL
);

CREATE TABLE audit_entry (
    chain TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    previous_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    request_id TEXT NOT NULL,
    facts TEXT NOT NULL,
    personal TEXT NOT NULL,
    PRIMARY KEY (chain, sequence)
);

CREATE TABLE dataset (
    organization_id TEXT NOT NULL REFERENCES organization (id),
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    owner TEXT NOT NULL,
    status BIGINT NOT NULL,
    localization TEXT,
    data_localization TEXT,
    tags TEXT NOT NULL,
    preference TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- What is left of a deleted dataset: its id is never given again.
CREATE TABLE dataset_deletion (
    organization_id TEXT NOT NULL REFERENCES organization (id),
    dataset_id TEXT NOT NULL,
    deleted_by TEXT NOT NULL,
    deleted_at BIGINT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (organization_id, dataset_id)
);
