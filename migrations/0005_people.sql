-- Organizations and people: settings, the pending end of an organization, who answers for a key, invitations by link.

ALTER TABLE organization ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- All four are there from the deletion of an organization until it is restored; `purge_begun_at` from when it can't be.
ALTER TABLE organization ADD COLUMN deleted_by TEXT;
ALTER TABLE organization ADD COLUMN deleted_at BIGINT;
ALTER TABLE organization ADD COLUMN purge_at BIGINT;
ALTER TABLE organization ADD COLUMN purge_begun_at BIGINT;
CREATE INDEX organization_by_purge ON organization (purge_at);

-- What is left of a purged organization beside its audit trail: its id is never given again.
CREATE TABLE purged_organization (
    id TEXT NOT NULL PRIMARY KEY,
    purged_at BIGINT NOT NULL
);

-- Who answers for a key since its creator handed it over.
ALTER TABLE secret_key ADD COLUMN responsible TEXT;

CREATE TABLE invitation (
    organization_id TEXT NOT NULL REFERENCES organization (id),
    id TEXT NOT NULL,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    digest BYTEA NOT NULL,
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    end_reason TEXT,
    ended_at BIGINT,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX invitation_by_digest ON invitation (digest);
