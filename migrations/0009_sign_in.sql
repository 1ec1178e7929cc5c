-- How people sign in. Of everything that opens something there is a digest, a slow hash or a sealed text. None of these tables
-- is in a backup: after a restore people are let in anew.

-- `phc` names its own parameters.
CREATE TABLE passphrase (
    person_id TEXT NOT NULL PRIMARY KEY REFERENCES person (id),
    phc TEXT NOT NULL,
    set_at BIGINT NOT NULL
);

CREATE TABLE person_session (
    id TEXT NOT NULL PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES person (id),
    digest BYTEA NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    client TEXT NOT NULL,
    wrong_codes BIGINT NOT NULL
);
CREATE UNIQUE INDEX person_session_by_digest ON person_session (digest);
CREATE INDEX person_session_by_person ON person_session (person_id, created_at);
CREATE INDEX person_session_by_end ON person_session (ends_at);

-- One for each person: a later link takes the place of the one before.
CREATE TABLE sign_in_link (
    person_id TEXT NOT NULL PRIMARY KEY REFERENCES person (id),
    digest BYTEA NOT NULL,
    purpose TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX sign_in_link_by_digest ON sign_in_link (digest);

-- `standing` is `on` for the factor in force and `offered` for one that nobody gave a code of yet. A code of `last_step` or
-- an earlier step is good no more. The offer belongs to the session that it was made in.
CREATE TABLE second_factor (
    person_id TEXT NOT NULL REFERENCES person (id),
    standing TEXT NOT NULL,
    session_id TEXT,
    keyring_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    since BIGINT NOT NULL,
    last_step BIGINT NOT NULL,
    PRIMARY KEY (person_id, standing)
);

CREATE TABLE recovery_code (
    person_id TEXT NOT NULL REFERENCES person (id),
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (person_id, number)
);
