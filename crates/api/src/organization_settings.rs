//! Settings of an organization on the wire of the management API: the edit of some, and what is shown of all.

use std::collections::BTreeMap;

use keyward_core::contact::{SecurityContact, WebhookUrl};
use keyward_core::email::EmailAddress;
use keyward_core::environment::Environment;
use keyward_core::field::{FieldProblem, FieldProblems};
use keyward_core::organization::{
    LIFETIME_BOUNDS_MS, MAX_CONTACTS, OrganizationSettings, ROTATION_BOUNDS_DAYS, RotationRule,
    USAGE_RETENTION_BOUNDS_DAYS, USAGE_RETENTION_DAYS,
};
use keyward_core::record::check_name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::{Fields, bounded, kind_of};
use crate::schema::ContactKindName;

/// An edit of settings; absent fields stay, and those that are there take the place of what was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EditOrganization {
    /// The display name.
    pub name: Option<String>,
    /// Whether pages offer the pickers.
    pub advanced_access_control: Option<bool>,
    /// The longest life of keys; `Some(None)` lifts it.
    pub max_key_lifetime_ms: Option<Option<i64>>,
    /// What differs from the environments' presets, as a whole.
    pub rotation_policy: Option<BTreeMap<Environment, RotationRule>>,
    /// The security contacts, as a whole.
    pub security_contacts: Option<Vec<SecurityContact>>,
    /// For how many days uses are kept.
    pub usage_retention_days: Option<u32>,
    /// Whether Owners and Admins need a second factor.
    pub second_factor_required: Option<bool>,
}

impl EditOrganization {
    /// Reads `name`, `advanced_access_control`, `max_key_lifetime_ms`, `rotation_policy`, `security_contacts`,
    /// `usage_retention_days` and `second_factor_required`.
    ///
    /// # Errors
    /// Every problem, whether a field can't be read or holds what no settings may have.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        let edit = Self {
            name: fields.parsed("name", |text| check_name(text).map(|()| text.to_owned())),
            advanced_access_control: read_bool(&mut fields, "advanced_access_control"),
            max_key_lifetime_ms: read_lifetime(&mut fields),
            rotation_policy: read_rotation_policy(&mut fields),
            security_contacts: read_contacts(&mut fields),
            usage_retention_days: read_retention(&mut fields),
            second_factor_required: read_bool(&mut fields, "second_factor_required"),
        };
        let given = edit.clone();
        let mut amiss = FieldProblems::new();
        OrganizationSettings {
            advanced_access_control: true,
            max_key_lifetime_ms: given.max_key_lifetime_ms.flatten(),
            rotation_policy: given.rotation_policy.unwrap_or_default(),
            security_contacts: given.security_contacts.unwrap_or_default(),
            usage_retention_days: given.usage_retention_days.unwrap_or(USAGE_RETENTION_DAYS),
            second_factor_required: false,
        }
        .check(&mut amiss);
        fields.absorb(amiss.into_inner());
        fields.finish_strictly(edit).map_err(bounded)
    }
}

pub(crate) fn read_bool(fields: &mut Fields, name: &str) -> Option<bool> {
    let value = fields.take(name)?;
    let read = value
        .as_bool()
        .ok_or_else(|| format!("must be true or false, not {}", kind_of(&value)));
    fields.keep(name, read)
}

fn read_lifetime(fields: &mut Fields) -> Option<Option<i64>> {
    let name = "max_key_lifetime_ms";
    let Some(value) = fields.take_nullable(name)? else {
        return Some(None);
    };
    let read = value
        .as_i64()
        .ok_or_else(|| format!("must be a whole number or null, not {}", kind_of(&value)));
    fields.keep(name, read).map(Some)
}

/// Null goes back to what nobody said otherwise.
fn read_retention(fields: &mut Fields) -> Option<u32> {
    let name = "usage_retention_days";
    let Some(value) = fields.take_nullable(name)? else {
        return Some(USAGE_RETENTION_DAYS);
    };
    let days = value.as_u64().and_then(|days| u32::try_from(days).ok());
    fields.keep(name, days.ok_or("must be a whole number of days, or null"))
}

/// `{"production": 30, "staging": null}`; null as a whole goes back to the presets.
fn read_rotation_policy(fields: &mut Fields) -> Option<BTreeMap<Environment, RotationRule>> {
    let name = "rotation_policy";
    let values = match fields.take_nullable(name)? {
        None => return Some(BTreeMap::new()),
        Some(Value::Object(values)) => values,
        Some(other) => {
            fields.problem(name, format!("must be an object, not {}", kind_of(&other)));
            return None;
        }
    };
    let mut policy = Fields::of_object(values, name.to_owned());
    let mut read = BTreeMap::new();
    for environment in Environment::ALL {
        match policy.take_nullable(environment.name()) {
            None => {}
            Some(None) => {
                read.insert(environment, RotationRule::AsNeeded);
            }
            Some(Some(value)) => {
                let days = value.as_u64().and_then(|days| u32::try_from(days).ok());
                let days = days.ok_or("must be a whole number of days, or null for no due date");
                if let Some(days) = policy.keep(environment.name(), days) {
                    read.insert(environment, RotationRule::EveryDays(days));
                }
            }
        }
    }
    match policy.finish_strictly(read) {
        Ok(read) => Some(read),
        Err(problems) => {
            fields.absorb(problems);
            None
        }
    }
}

/// `[{"kind": "email", "address": "..."}]`; null is none.
fn read_contacts(fields: &mut Fields) -> Option<Vec<SecurityContact>> {
    let name = "security_contacts";
    let items = match fields.take_nullable(name)? {
        None => return Some(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => {
            fields.problem(name, format!("must be a list, not {}", kind_of(&other)));
            return None;
        }
    };
    if items.len() > MAX_CONTACTS {
        fields.problem(name, format!("at most {MAX_CONTACTS} contacts"));
        return None;
    }
    let count = items.len();
    let mut contacts = Vec::with_capacity(count);
    for (at, item) in items.into_iter().enumerate() {
        let path = format!("{name}[{at}]");
        let Value::Object(values) = item else {
            fields.problem(
                &path,
                format!("must be an object with kind and address, not {}", kind_of(&item)),
            );
            continue;
        };
        let mut contact = Fields::of_object(values, path);
        let read = read_contact(&mut contact);
        match contact.finish_strictly(read) {
            Ok(read) => contacts.extend(read),
            Err(problems) => fields.absorb(problems),
        }
    }
    // A contact that is missing would move the places that other problems name.
    (contacts.len() == count).then_some(contacts)
}

fn read_contact(contact: &mut Fields) -> Option<SecurityContact> {
    let kind = contact.required_text("kind");
    let address = contact.required_text("address");
    match (kind?.as_str(), address) {
        ("email", Some(text)) => contact
            .keep("address", text.parse::<EmailAddress>())
            .map(SecurityContact::Email),
        ("webhook", Some(text)) => contact
            .keep("address", text.parse::<WebhookUrl>())
            .map(SecurityContact::Webhook),
        ("email" | "webhook", None) => None,
        _ => {
            contact.problem("kind", "is one of email, webhook");
            None
        }
    }
}

/// What [`EditOrganization::read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(
    as = EditOrganization,
    description = "An edit of an organization's settings. Absent fields stay; those that are there replace what was."
)]
pub struct EditOrganizationBody {
    /// The display name.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Whether pages offer the pickers of scopes and levels. It widens no key.
    pub advanced_access_control: Option<bool>,
    /// The longest life of keys that are made or edited from now on, in milliseconds; null lifts it.
    #[schema(minimum = 86_400_000_i64, maximum = 315_360_000_000_i64)]
    pub max_key_lifetime_ms: Option<i64>,
    /// Days between rotations by environment, where they differ from the presets; null is no due date.
    pub rotation_policy: Option<RotationPolicyView>,
    /// Who is told when a key is compromised.
    #[schema(max_items = 20)]
    pub security_contacts: Option<Vec<ContactView>>,
    /// For how many days it is kept who used which key; null goes back to 400.
    #[schema(minimum = 1, maximum = 3650)]
    pub usage_retention_days: Option<u32>,
    /// Whether the console asks Owners and Admins for a second factor. Everybody who manages may switch it on; only an Owner
    /// switches it off. It binds sessions of people, not management tokens.
    pub second_factor_required: Option<bool>,
}

const _: () = assert!(LIFETIME_BOUNDS_MS.0 == 86_400_000 && LIFETIME_BOUNDS_MS.1 == 315_360_000_000);
const _: () = assert!(USAGE_RETENTION_BOUNDS_DAYS.0 == 1 && USAGE_RETENTION_BOUNDS_DAYS.1 == 3_650);
const _: () = assert!(ROTATION_BOUNDS_DAYS.0 == 1 && ROTATION_BOUNDS_DAYS.1 == 3_650);

/// Days between rotations by environment: absent is the preset, null is no due date.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotationPolicy)]
pub struct RotationPolicyView {
    /// Of production keys; 90 without a policy.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    pub production: Option<Option<u32>>,
    /// Of staging keys; 180 without a policy.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    pub staging: Option<Option<u32>>,
    /// Of development keys; as needed without a policy.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    pub development: Option<Option<u32>>,
    /// Of pipelines' keys; 90 without a policy.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    pub ci_cd: Option<Option<u32>>,
}

/// A null that is there is not an absent field.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::<u32>::deserialize(deserializer).map(Some)
}

impl RotationPolicyView {
    /// The policy of one environment, to be shown or filled.
    pub const fn slot(&mut self, environment: Environment) -> &mut Option<Option<u32>> {
        match environment {
            Environment::Production => &mut self.production,
            Environment::Staging => &mut self.staging,
            Environment::Development => &mut self.development,
            Environment::CiCd => &mut self.ci_cd,
        }
    }
}

/// A security contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SecurityContact)]
pub struct ContactView {
    /// Mail, or a call to a URL.
    #[schema(value_type = ContactKindName)]
    pub kind: String,
    /// An e-mail address, or an https URL without user name and fragment.
    #[schema(max_length = 2000)]
    pub address: String,
}

/// An organization's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrganizationSettings)]
pub struct SettingsView {
    /// Whether pages offer the pickers of scopes and levels.
    pub advanced_access_control: bool,
    /// The longest life of keys in milliseconds; null is no limit.
    pub max_key_lifetime_ms: Option<i64>,
    /// What differs from the environments' presets.
    pub rotation_policy: RotationPolicyView,
    /// For how many days it is kept who used which key.
    pub usage_retention_days: u32,
    /// Whether the console asks Owners and Admins for a second factor; management tokens are not asked for one.
    pub second_factor_required: bool,
    /// Who is told when a key is compromised; only to whoever may change it, because a webhook's address may be secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_contacts: Option<Vec<ContactView>>,
}

impl SettingsView {
    /// What is shown of settings, without the contacts.
    pub fn of(settings: &OrganizationSettings) -> Self {
        let mut rotation_policy = RotationPolicyView::default();
        for (environment, rule) in &settings.rotation_policy {
            *rotation_policy.slot(*environment) = Some(match rule {
                RotationRule::EveryDays(days) => Some(*days),
                RotationRule::AsNeeded => None,
            });
        }
        Self {
            advanced_access_control: settings.advanced_access_control,
            max_key_lifetime_ms: settings.max_key_lifetime_ms,
            rotation_policy,
            usage_retention_days: settings.usage_retention_days,
            second_factor_required: settings.second_factor_required,
            security_contacts: None,
        }
    }

    /// The same with the contacts.
    #[must_use]
    pub fn with_contacts(self, settings: &OrganizationSettings) -> Self {
        let contacts = settings.security_contacts.iter().map(|contact| ContactView {
            kind: contact.kind().to_owned(),
            address: contact.address().to_owned(),
        });
        Self {
            security_contacts: Some(contacts.collect()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<EditOrganization, Vec<String>> {
        let read = EditOrganization::read(Fields::of_body(body.as_bytes()).unwrap());
        read.map_err(|problems| problems.into_iter().map(|problem| problem.field).collect())
    }

    #[test]
    fn what_is_absent_stays_and_null_is_said() {
        assert_eq!(read("{}"), Ok(EditOrganization::default()));
        let edit = read(
            r#"{"max_key_lifetime_ms": null, "rotation_policy": {"production": 30, "staging": null},
                "security_contacts": null, "advanced_access_control": false, "usage_retention_days": null}"#,
        )
        .unwrap();
        assert_eq!(edit.max_key_lifetime_ms, Some(None));
        assert_eq!(edit.advanced_access_control, Some(false));
        assert_eq!(edit.security_contacts, Some(Vec::new()));
        assert_eq!(edit.usage_retention_days, Some(400));
        let policy = [
            (Environment::Production, RotationRule::EveryDays(30)),
            (Environment::Staging, RotationRule::AsNeeded),
        ];
        assert_eq!(edit.rotation_policy, Some(policy.into()));
        assert_eq!(
            read(r#"{"rotation_policy": null}"#).unwrap().rotation_policy,
            Some(BTreeMap::new())
        );
    }

    #[test]
    fn every_problem_comes_at_once() {
        let body = r#"{"name": " ", "advanced_access_control": "yes", "max_key_lifetime_ms": 5,
            "rotation_policy": {"production": 0, "moon": 3, "staging": "often"},
            "security_contacts": [{"kind": "email", "address": "nobody"}, {"kind": "pigeon", "address": "x"}, 3,
                {"kind": "webhook", "address": "http://example.com/"}, {"address": "x", "extra": 1}], "id": "x"}"#;
        let found = read(body).unwrap_err();
        for expected in [
            "name",
            "advanced_access_control",
            "max_key_lifetime_ms",
            "rotation_policy.moon",
            "rotation_policy.staging",
            "security_contacts[0].address",
            "security_contacts[1].kind",
            "security_contacts[2]",
            "security_contacts[3].address",
            "security_contacts[4].kind",
            "security_contacts[4].extra",
            "id",
        ] {
            assert!(
                found.iter().any(|field| field == expected),
                "{expected} in {found:?}"
            );
        }
        assert_eq!(
            read(r#"{"rotation_policy": {"ci_cd": 3651}, "name": 3}"#),
            Err(vec!["name".to_owned(), "rotation_policy.ci_cd".to_owned()])
        );
        for bad in ["0", "3651", "-1", "1.5", r#""long""#] {
            let body = format!(r#"{{"usage_retention_days": {bad}}}"#);
            assert_eq!(read(&body), Err(vec!["usage_retention_days".to_owned()]), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let body = r#"{"advanced_access_control": false, "max_key_lifetime_ms": 86400000,
            "rotation_policy": {"production": null, "ci_cd": 7}, "usage_retention_days": 30, "second_factor_required": true,
            "security_contacts": [{"kind": "webhook", "address": "https://example.com/h"}]}"#;
        let edit = read(body).unwrap();
        let settings = OrganizationSettings {
            advanced_access_control: false,
            max_key_lifetime_ms: edit.max_key_lifetime_ms.flatten(),
            rotation_policy: edit.rotation_policy.clone().unwrap(),
            security_contacts: edit.security_contacts.clone().unwrap(),
            usage_retention_days: edit.usage_retention_days.unwrap(),
            second_factor_required: edit.second_factor_required.unwrap(),
        };
        let shown = SettingsView::of(&settings);
        assert_eq!(shown.security_contacts, None);
        let shown = serde_json::to_string(&shown.with_contacts(&settings)).unwrap();
        assert_eq!(read(&shown), Ok(edit));
        let back: SettingsView = serde_json::from_str(&shown).unwrap();
        assert_eq!(back.rotation_policy.production, Some(None));
        assert_eq!(back.rotation_policy.staging, None);
    }
}
