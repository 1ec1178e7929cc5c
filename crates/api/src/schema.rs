//! Closed lists of names, for the API's description: made from the core's own lists, so that they can't differ.
//!
//! A type here stands for a text field in the description and is never made.

use std::borrow::Cow;

use keyward_core::decision::OrganizationState;
use keyward_core::environment::Environment;
use keyward_core::key_filter::KeySort;
use keyward_core::level::PermissionLevel;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::operation::Operation;
use keyward_core::role::Role;
use keyward_core::rotation::DueStatus;
use keyward_core::scope::Scope;
use keyward_core::state::DeleteReason;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! names {
    ($($(#[$doc:meta])* $type:ident as $name:literal: $names:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $type {}

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                closed($names)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )+};
}

names! {
    /// A scope of a secret key.
    ScopeName as "Scope": Scope::ALL.map(Scope::name);
    /// A permission level of a secret key.
    LevelName as "Level": PermissionLevel::ALL.map(PermissionLevel::name);
    /// The environment of a secret key.
    EnvironmentName as "Environment": Environment::ALL.map(Environment::name);
    /// An environment that a filter names.
    EnvironmentOrNoneName as "EnvironmentOrNone": crate::key_filter::environment_names();
    /// The shown state of a secret key.
    KeyStateName as "KeyState": ["active", "paused", "expired", "deleted"];
    /// The shown state of a management token.
    TokenStateName as "TokenState": ["active", "expired", "deleted"];
    /// What became of a delivery.
    DeliveryStatusName as "DeliveryStatus": crate::deliveries::STATUSES;
    /// What a notice is about.
    NoticeKindName as "NoticeKind": keyward_core::notice::NoticeKind::ALL.iter().map(|kind| kind.name());
    /// How a key stands to its next rotation.
    DueStatusName as "DueStatus": DueStatus::ALL.map(DueStatus::name);
    /// The state of a secret of a key.
    SecretStateName as "SecretState": crate::keys::SECRET_STATES;
    /// How a rotation treats the old secret.
    RotationModeName as "RotationMode": crate::key_rotation::MODES;
    /// What a list of keys is sorted by.
    KeySortName as "KeySort": KeySort::ALL.map(KeySort::name);
    /// In which direction a list goes.
    DirectionName as "Direction": ["ascending", "descending"];
    /// What is done with many keys.
    BulkActionName as "BulkAction": crate::key_bulk::ACTIONS;
    /// Why a key is deleted.
    DeleteReasonName as "DeleteReason": DeleteReason::ALL.iter().map(|reason| reason.name());
    /// Whether an acknowledged change is on a second database server.
    StandbyName as "Standby": ["asynchronous", "synchronous", "missing", "unseen"];
    /// The state of an organization.
    OrganizationStateName as "OrganizationState":
        OrganizationState::ALL.map(OrganizationState::name);
    /// A role in an organization.
    RoleName as "Role": Role::ALL.map(Role::name);
    /// What becomes of the keys of somebody who leaves.
    KeysOfLeaverName as "KeysOfLeaver": crate::members::KEYS_OF_LEAVER;
    /// The shown state of an invitation.
    InvitationStateName as "InvitationState": crate::invitations::STATES;
    /// How a security contact is told.
    ContactKindName as "ContactKind": ["email", "webhook"];
    /// A right that a management token can hold.
    TokenRightName as "TokenRight": RightSet::all_of_tokens().iter().map(ManagementRight::name);
    /// A right of the management API.
    RightName as "Right": ManagementRight::ALL.map(ManagementRight::name);
    /// An operation of the resource API.
    OperationName as "Operation": Operation::ALL.map(Operation::name);
    /// How long a point of a curve is.
    StepName as "Step": ["hour", "day"];
    /// Whom uses are counted by.
    TopName as "TopOf": ["clients", "addresses"];
    /// In which form a list is answered.
    FormatName as "Format": ["json", "csv", "jsonl"];
    /// What is advised about a key.
    AdviceVerdictName as "AdviceVerdict": ["narrow", "keep", "remove", "wait", "deleted"];
}

fn closed(names: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .into()
}
