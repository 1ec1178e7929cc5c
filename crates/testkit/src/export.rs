//! An export of an audit trail, written from what a database holds.

use keyward_core::audit_export::{EntryLine, ExportWriter, FORMAT, Header};
use keyward_core::checkpoint::AuditSigner;
use keyward_core::hex::Hex;
use keyward_core::keyring::Keyring;
use keyward_core::time::Timestamp;
use keyward_store::Store;

/// The lines of a chain from an entry on, signed by the keyring.
pub async fn export(store: &Store, keyring: &Keyring, chain: &str, from_sequence: i64) -> String {
    let entries = store
        .list_audit(chain, from_sequence - 1, 100_000)
        .await
        .expect("the trail can be read");
    let hash = |bytes: &[u8]| Hex(bytes.try_into().expect("a hash has 32 bytes"));
    let previous = entries
        .first()
        .map_or(Hex([0; 32]), |entry| hash(&entry.previous_hash));
    let header = Header {
        keyward_audit_export: FORMAT,
        chain: chain.to_owned(),
        from_sequence,
        previous_hash: previous,
        exported_at_ms: Timestamp::from_unix_ms(0),
        public_keys: Vec::new(),
    };
    let (mut writer, mut text) = ExportWriter::begin(&header);
    for entry in entries {
        let line = EntryLine {
            sequence: entry.sequence,
            previous_hash: hash(&entry.previous_hash),
            hash: hash(&entry.hash),
            at_ms: Timestamp::from_unix_ms(entry.at),
            personal: serde_json::from_str(&entry.personal).expect("personal values are stored as JSON"),
            chain: entry.chain,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            request_id: entry.request_id,
            facts: entry.facts,
        };
        text.push('\n');
        text.push_str(&writer.entry(&line));
    }
    let signer = AuditSigner::of(keyring, keyring.active()).expect("a keyring signs with its active version");
    text.push('\n');
    text.push_str(&writer.end(&signer));
    text.push('\n');
    text
}
