//! `/help/api`: the management API for people to read, offline, made from the same document that programs read.
