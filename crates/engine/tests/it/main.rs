//! The engine's use cases, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and its helpers are not marked as tests"
)]

mod audit;
mod bulk;
mod cache;
mod change_role;
mod create_key;
mod datasets;
mod delete_key;
mod delete_organization;
mod deliver;
mod edit_key;
mod edit_settings;
mod invitations;
mod last_use;
mod list_keys;
mod look_up_keys;
mod lost_answers;
mod nodes;
mod once;
mod organization_cell;
mod passphrases;
mod people;
mod races;
mod rates;
mod remove_member;
mod replace_key;
mod replay_deletions;
mod restore;

mod rotate_key;
mod rotate_keyring;
mod schedules;
mod second_factor;
mod sessions;
mod shared_rates;
mod show_usage;
mod sign_in;
mod sign_in_links;
mod sign_ins;
mod signing_in;
mod standing;
mod stop_keys;
mod stop_organization;
mod tampering;
mod tend_keys;
mod tokens;
mod trail;
mod usage;
mod verify;
