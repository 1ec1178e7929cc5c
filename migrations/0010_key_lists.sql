-- Lists of an organization's keys, fast for a hundred thousand of them: each order has an index that also holds what lists are
-- narrowed by, so that a filter which means few keys reads index entries one after the other and no row besides those that it shows.
-- Indexes of 0002 are made anew with more columns, under their old names.

DROP INDEX secret_key_by_creation;
CREATE INDEX secret_key_by_creation ON secret_key
    (organization_id, created_at, id, state, environment, created_by, expires_at, rotation_due_at);

-- Names have at most 100 characters and come first in what is searched, so that this also finds names. Longer texts are looked at in
-- their rows.
DROP INDEX secret_key_by_name;
CREATE INDEX secret_key_by_name ON secret_key
    (organization_id, (SUBSTR(search, 1, 100)), id, (LENGTH(search)), state, environment, created_by, expires_at, rotation_due_at,
    created_at);

CREATE INDEX secret_key_by_next_rotation ON secret_key
    (organization_id, (COALESCE(rotation_due_at, 9223372036854775807)), id, state, environment, created_by, expires_at,
    rotation_due_at, created_at);

CREATE INDEX secret_key_by_creator ON secret_key
    (organization_id, created_by, created_at, id, state, environment, expires_at, rotation_due_at);
