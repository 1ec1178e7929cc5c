//! The audit trail on the wire: entries, checkpoints, public keys, what a check found, and what is to be erased.
//!
//! The lines of an export are not made here but in `keyward_core::audit_export`: they are checked where no server is.

use std::collections::BTreeMap;

use keyward_core::audit::Personal;
use keyward_core::audit_export::EntryLine;
use keyward_core::audit_finding::{Finding, Findings};
use keyward_core::chain_check::ChainSummary;
use keyward_core::checkpoint::{PublishedKey, SignedCheckpoint};
use keyward_core::field::FieldProblem;
use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::moment;

/// Longer than any actor, action or target that is written.
const MAX_TEXT: usize = 200;
/// Longer than any personal value that is written.
const MAX_VALUE: usize = 1_000;

/// Which entries a list shows, read from its query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// By whom.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// To what.
    pub target: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// The parameters, in the order of the description.
    pub const NAMES: [&'static str; 5] = ["actor", "action", "target", "from", "to"];

    /// Reads the parameters.
    ///
    /// # Errors
    /// Every parameter's problem.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<FieldProblem>> {
        let mut text = |name: &str| fields.parsed(name, |text| short_text(text, MAX_TEXT));
        let (actor, action, target) = (text("actor"), text("action"), text("target"));
        let from = fields.parsed("from", moment::read);
        let to = fields.parsed("to", moment::read);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            fields.problem("to", "has to be later than `from`; nothing lies between them");
        }
        fields.finish_strictly(Self {
            actor,
            action,
            target,
            from,
            to,
        })
    }
}

fn short_text(text: &str, most: usize) -> Result<String, String> {
    let is_good = !text.is_empty() && text.len() <= most;
    is_good
        .then(|| text.to_owned())
        .ok_or_else(|| format!("has to be a text of 1 to {most} bytes"))
}

/// An entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEntryView {
    /// The organization that it belongs to; `-` for none.
    pub chain: String,
    /// Its number in the chain, counted from 1.
    pub sequence: i64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `person/ID`, `key/ID`, `token/ID`, `local_administrator` or `system`.
    pub actor: String,
    /// What: `key.create`, `member.remove`, ...
    pub action: String,
    /// To what: `key/ID`, `person/ID`, ...
    pub target: String,
    /// In which request.
    pub request_id: String,
    /// What was recorded: ids, names of states, numbers, and commitments to personal values.
    #[schema(value_type = Object)]
    pub facts: Value,
    /// Personal values by name; those that were erased are not there.
    pub personal: BTreeMap<String, String>,
    /// The hash of the entry before.
    pub previous_hash: String,
    /// This entry's hash.
    pub hash: String,
}

impl AuditEntryView {
    /// What is shown of an entry.
    pub fn of(entry: EntryLine) -> Self {
        let facts = Value::Object(entry.read_facts());
        let clear = |(name, personal): (String, Personal)| (name, personal.value);
        Self {
            at: moment::write(entry.at_ms),
            previous_hash: entry.previous_hash.to_string(),
            hash: entry.hash.to_string(),
            personal: entry.personal.into_iter().map(clear).collect(),
            facts,
            chain: entry.chain,
            sequence: entry.sequence,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            request_id: entry.request_id,
        }
    }
}

/// An export, for the API's description: a header, entries with their checkpoints, and an end, each a line of JSON.
#[derive(Debug, ToSchema)]
#[schema(as = AuditExport)]
pub struct ExportText(pub String);

/// How far the trail had come, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditCheckpoint)]
pub struct CheckpointView {
    /// The chain.
    pub chain: String,
    /// The number of its last entry then.
    pub sequence: i64,
    /// That entry's hash.
    pub hash: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// The same in Unix milliseconds, as it was signed.
    pub at_ms: i64,
    /// The Ed25519 public key that it is checked with.
    pub public_key: String,
    /// The signature.
    pub signature: String,
    /// The line to keep in a file that `keyward audit verify --checkpoints` reads.
    pub line: String,
}

impl CheckpointView {
    /// What is shown of a checkpoint.
    pub fn of(checkpoint: &SignedCheckpoint) -> Self {
        Self {
            chain: checkpoint.chain.clone(),
            sequence: checkpoint.sequence,
            hash: checkpoint.hash.to_string(),
            at: moment::write(checkpoint.at_ms),
            at_ms: checkpoint.at_ms.as_unix_ms(),
            public_key: checkpoint.public_key.to_string(),
            signature: checkpoint.signature.to_string(),
            line: checkpoint.to_line(),
        }
    }
}

/// A key that signs, or signed, for this installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditPublicKey)]
pub struct AuditPublicKeyView {
    /// The Ed25519 public key, in hexadecimal.
    pub public_key: String,
    /// Since when it signs.
    #[schema(format = DateTime)]
    pub since: String,
    /// The key before it, which signed this one.
    pub endorsed_by: Option<String>,
    /// That signature.
    pub endorsement: Option<String>,
}

/// The keys, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditPublicKeys)]
pub struct AuditPublicKeysView {
    /// The keys.
    pub items: Vec<AuditPublicKeyView>,
}

impl AuditPublicKeysView {
    /// What is shown of the keys.
    pub fn of(keys: &[PublishedKey]) -> Self {
        let shown = keys.iter().map(|key| AuditPublicKeyView {
            public_key: key.public_key.to_string(),
            since: moment::write(key.since_ms),
            endorsed_by: key.endorsement.as_ref().map(|word| word.by.to_string()),
            endorsement: key.endorsement.as_ref().map(|word| word.signature.to_string()),
        });
        Self {
            items: shown.collect(),
        }
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditFinding)]
pub struct FindingView {
    /// What kind: `changed`, `missing`, `out_of_place`, `cut_off`, ...
    pub kind: String,
    /// The entry, where it is one.
    pub sequence: Option<i64>,
    /// What it is, in a sentence.
    pub message: String,
}

impl FindingView {
    /// What is shown of a finding.
    pub fn of(finding: &Finding) -> Self {
        let fields = serde_json::to_value(finding).unwrap_or_default();
        let number = |name: &str| fields.get(name).and_then(Value::as_i64);
        Self {
            kind: fields
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            sequence: number("sequence")
                .or_else(|| number("from"))
                .or_else(|| number("until"))
                .or_else(|| number("last")),
            message: finding.to_string(),
        }
    }

    /// What is shown of all.
    pub fn of_all(findings: &Findings) -> Vec<Self> {
        findings.told.iter().map(Self::of).collect()
    }
}

/// What the trail in the database came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditCheck)]
pub struct AuditCheckView {
    /// The chain.
    pub chain: String,
    /// Whether nothing was found.
    pub is_whole: bool,
    /// The number of the last entry, as the head of the chain tells it.
    pub head: i64,
    /// Entries that were checked.
    pub entries: i64,
    /// Checkpoints that fit.
    pub checkpoints: i64,
    /// The last entry that a checkpoint by the present keyring stands for; null if there is none.
    pub proved_until: Option<i64>,
    /// Personal values that were erased.
    pub erased_values: u64,
    /// What is not as it was written.
    pub findings: Vec<FindingView>,
    /// How many more there are.
    pub more_findings: u64,
}

impl AuditCheckView {
    /// What is shown of a check.
    pub fn of(chain: &str, head: i64, summary: &ChainSummary, findings: &Findings) -> Self {
        Self {
            chain: chain.to_owned(),
            is_whole: findings.is_empty(),
            head,
            entries: summary.entries,
            checkpoints: summary.checkpoints,
            proved_until: summary.proved_until,
            erased_values: summary.erased_values,
            findings: FindingView::of_all(findings),
            more_findings: findings.more,
        }
    }
}

/// Which personal values are to be erased, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErasureAsked {
    /// This value, wherever it is.
    Value(String),
    /// Those of every entry about this target.
    Target(String),
    /// Those of this entry.
    Sequence(i64),
}

/// What [`read_erasure`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditErasure, description = "Which personal values are erased. Give one of the three.")]
pub struct ErasureBody {
    /// This value, wherever it is: an e-mail address, a name. Capitals make no difference.
    #[schema(min_length = 1, max_length = 1000)]
    pub value: Option<String>,
    /// Those of every entry about this: `person/ID`, `key/ID`.
    #[schema(min_length = 1, max_length = 200)]
    pub target: Option<String>,
    /// Those of the entry with this number.
    #[schema(minimum = 1)]
    pub sequence: Option<i64>,
}

/// Reads what is to be erased.
///
/// # Errors
/// Every field's problem.
pub fn read_erasure(mut fields: Fields) -> Result<ErasureAsked, Vec<FieldProblem>> {
    let is_there = ["value", "target", "sequence"].map(|name| fields.has(name));
    let value = fields.parsed("value", |text| short_text(text, MAX_VALUE));
    let target = fields.parsed("target", |text| short_text(text, MAX_TEXT));
    let sequence = fields.integer("sequence");
    if sequence.is_some_and(|sequence| sequence < 1) {
        fields.problem("sequence", "has to be the number of an entry, from 1 on");
    }
    if is_there.iter().filter(|is_there| **is_there).count() != 1 {
        fields.problem("value", "give exactly one of `value`, `target` and `sequence`");
    }
    let asked = value
        .map(ErasureAsked::Value)
        .or(target.map(ErasureAsked::Target))
        .or(sequence.map(ErasureAsked::Sequence));
    // What is missing here has been told of above.
    fields.finish_strictly(asked.unwrap_or(ErasureAsked::Sequence(0)))
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditErased)]
pub struct ErasedView {
    /// Values that are gone now.
    pub values: u64,
    /// Entries that they were of.
    pub entries: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(values) = value else { panic!() };
        Fields::of_object(values, String::new())
    }

    #[test]
    fn an_erasure_names_exactly_one_thing() {
        let read = |value| read_erasure(fields(value));
        assert_eq!(
            read(json!({"value": "Ada"})),
            Ok(ErasureAsked::Value("Ada".to_owned()))
        );
        assert_eq!(read(json!({"sequence": 7})), Ok(ErasureAsked::Sequence(7)));
        for bad in [
            json!({}),
            json!({"value": "a", "target": "b"}),
            json!({"value": ""}),
            json!({"sequence": 0}),
            json!({"sequence": "1"}),
            json!({"value": "a", "all": true}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_bad_parameter_of_a_list_is_named() {
        let bad = json!({"actor": "", "from": "yesterday", "to": "2026-01-01T00:00:00Z"});
        let problems = AuditFilter::read(fields(bad)).unwrap_err();
        assert_eq!(
            problems
                .iter()
                .map(|problem| problem.field.as_str())
                .collect::<Vec<_>>(),
            ["actor", "from"]
        );
        let empty = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"});
        assert_eq!(AuditFilter::read(fields(empty)).unwrap_err()[0].field, "to");
    }
}
