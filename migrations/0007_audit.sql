-- The audit trail's checkpoints, the keys that sign them, and what lists of the trail are filtered by.

CREATE TABLE audit_checkpoint (
    chain TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    at BIGINT NOT NULL,
    public_key TEXT NOT NULL,
    signature BYTEA NOT NULL,
    PRIMARY KEY (chain, sequence, public_key)
);

-- Public keys that signed at any time; the private ones are derived from the keyring and go with its versions.
CREATE TABLE audit_public_key (
    public_key TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    endorsed_by TEXT,
    endorsement BYTEA
);

CREATE INDEX audit_entry_by_target ON audit_entry (chain, target, sequence);
CREATE INDEX audit_entry_by_actor ON audit_entry (chain, actor, sequence);
CREATE INDEX audit_entry_by_action ON audit_entry (chain, action, sequence);
