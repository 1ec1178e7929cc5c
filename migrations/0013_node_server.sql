-- Whose clock set the end of a node's lease: the server's system identifier and timeline. Empty: a version that did not say so.
ALTER TABLE node ADD COLUMN server TEXT NOT NULL DEFAULT '';
