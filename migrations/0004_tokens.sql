-- Tokens for the management API. `sealed` is the digest of the token's text, bound to what decides about it.
CREATE TABLE management_token (
    id TEXT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organization (id),
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    rights TEXT NOT NULL,
    expires_at BIGINT,
    state TEXT NOT NULL,
    deleted_at BIGINT,
    keyring_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    hint TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX management_token_by_organization ON management_token (organization_id, id);
CREATE INDEX management_token_by_keyring_version ON management_token (keyring_version, id);
