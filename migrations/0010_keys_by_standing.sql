-- What an overview counts, from the index alone: an organization's keys by environment and state, and which of them are due.
CREATE INDEX secret_key_by_standing ON secret_key (organization_id, environment, state, rotation_due_at, expires_at);
