//! What goes over the wire to those who manage keys: requests, replies, the problem document, cursors.
//!
//! Shared by the server and by whatever calls it, so nothing here knows the store, the engine or a web framework.
//! Reading a request collects every field's problem before it refuses ([`fields`]).

pub mod audit;
pub mod csv;
pub mod cursor;
pub mod deliveries;
pub mod fields;
pub mod invitations;
pub mod key_bulk;
pub mod key_edit;
pub mod key_explain;
pub mod key_filter;
pub mod key_rotation;
pub mod keys;
pub mod members;
pub mod moment;
pub mod nodes;
pub mod organization_settings;
pub mod organizations;
pub mod people;
pub mod problem;
pub mod schema;
pub mod tokens;
pub mod usage;
pub mod verdicts;
