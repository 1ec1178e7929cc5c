//! Judges an export of the audit trail, line by line, with nothing but the file and what was kept elsewhere.
//!
//! What a file proves of itself is that it fits together; whoever can write the database can make one that does. What
//! proves more is a checkpoint that was kept elsewhere, or the public key. So the report says what was proved, and what was
//! *not* ([`Report::unproved`]). Reading files is the caller's business.

use serde::Serialize;

use crate::audit::CHAIN_START;
use crate::audit_export::{End, ExportSum, Header, Line};
use crate::audit_finding::{Finding, Findings};
use crate::chain_check::{Belief, ChainCheck, ChainSummary};
use crate::checkpoint::{AuditPublicKey, SignedCheckpoint, believed_keys};

/// What the reader of an export can go by besides the file.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Public keys that they know to be the installation's.
    pub public_keys: Vec<AuditPublicKey>,
    /// Checkpoints that were kept elsewhere; those of other chains are passed over.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The chain; `None` without a first line.
    pub chain: Option<String>,
    /// The number that the export begins with.
    pub from_sequence: i64,
    /// The entries.
    pub summary: ChainSummary,
    /// Checkpoints of this chain and part of it that were kept elsewhere.
    pub kept_checkpoints: u64,
    /// Whether a public key was there to go by.
    pub has_known_key: bool,
    /// Whether the last line was signed with a key that is believed.
    pub is_end_proved: bool,
    /// What is not as it was written.
    pub findings: Findings,
}

/// A check that is under way.
pub struct ExportCheck {
    kept: Kept,
    line: u64,
    begun: Option<Begun>,
    end: Option<End>,
    findings: Findings,
}

struct Begun {
    header: Header,
    chain: ChainCheck,
    sum: ExportSum,
    belief: Belief,
    kept_checkpoints: u64,
}

impl ExportCheck {
    /// A check with what was kept elsewhere.
    pub fn new(kept: Kept) -> Self {
        Self {
            kept,
            line: 0,
            begun: None,
            end: None,
            findings: Findings::default(),
        }
    }

    /// The next line; empty ones are passed over.
    pub fn line(&mut self, text: &str) {
        self.line = self.line.saturating_add(1);
        if text.trim().is_empty() {
            return;
        }
        let line = match Line::parse(text) {
            Ok(line) => line,
            Err(refused) => return self.unreadable(&refused.to_string()),
        };
        match (line, &mut self.begun) {
            (Line::Header(header), None) => self.begin(header),
            (Line::Entry(entry), Some(begun)) if self.end.is_none() => {
                begun.sum.add_entry(&entry);
                begun.chain.entry(&entry);
            }
            (Line::Checkpoint(checkpoint), Some(begun)) if self.end.is_none() => {
                begun.sum.add_checkpoint(&checkpoint);
                begun.chain.checkpoint(&checkpoint);
            }
            (Line::End(end), Some(_)) if self.end.is_none() => self.end = Some(end),
            _ => self.findings.add(Finding::LineOutOfPlace { line: self.line }),
        }
    }

    /// The next line could not be read at all.
    pub fn unreadable_line(&mut self, why: &str) {
        self.line = self.line.saturating_add(1);
        self.unreadable(why);
    }

    fn unreadable(&mut self, why: &str) {
        let (line, why) = (self.line, why.to_owned());
        self.findings.add(Finding::Unreadable { line, why });
    }

    fn begin(&mut self, header: Header) {
        for key in &header.public_keys {
            if !key.is_endorsement_genuine() {
                let public_key = key.public_key;
                self.findings.add(Finding::EndorsementForged { public_key });
            }
        }
        let known = &self.kept.public_keys;
        let belief = Belief {
            keys: (!known.is_empty()).then(|| believed_keys(known.iter().copied(), &header.public_keys)),
            ..Belief::default()
        };
        let before = header.from_sequence.saturating_sub(1);
        let previous = header.previous_hash.0;
        let mut chain = ChainCheck::after(&header.chain, (before, previous), belief.clone());
        if before < 0 || (before == 0 && previous != CHAIN_START) {
            self.findings.add(Finding::NotAsWritten);
        }
        let mut kept_checkpoints = 0_u64;
        let of_this_chain = |checkpoint: &&SignedCheckpoint| checkpoint.chain == header.chain;
        for checkpoint in self.kept.checkpoints.iter().filter(of_this_chain) {
            if checkpoint.sequence >= before {
                kept_checkpoints = kept_checkpoints.saturating_add(1);
                chain.keep(checkpoint);
            }
        }
        self.kept.checkpoints.clear();
        self.begun = Some(Begun {
            sum: ExportSum::begin(&header),
            header,
            chain,
            belief,
            kept_checkpoints,
        });
    }

    /// What all lines came to.
    pub fn finish(self) -> Report {
        let has_known_key = !self.kept.public_keys.is_empty();
        let mut findings = self.findings;
        let Some(begun) = self.begun else {
            findings.add(Finding::NoHeader);
            return Report {
                chain: None,
                from_sequence: 0,
                summary: ChainSummary::default(),
                kept_checkpoints: 0,
                has_known_key,
                is_end_proved: false,
                findings,
            };
        };
        let Begun {
            header,
            chain,
            sum,
            belief,
            kept_checkpoints,
        } = begun;
        let genuine = self.end.as_ref().filter(|end| end.is_signed(&header.chain));
        let told_end = genuine.map_or(i64::MIN, |end| end.last_sequence);
        let (mut summary, of_chain) = chain.finish(told_end);
        for finding in of_chain.told {
            findings.add(finding);
        }
        findings.more = findings.more.saturating_add(of_chain.more);
        let mut is_end_proved = false;
        match (&self.end, genuine) {
            (None, _) => findings.add(Finding::NoEnd {
                last: summary.last_sequence,
            }),
            (Some(end), None) => {
                let public_key = end.public_key;
                findings.add(Finding::EndForged { public_key });
            }
            (Some(end), Some(_)) if belief.is_stranger(end.public_key) => {
                let public_key = end.public_key;
                findings.add(Finding::EndByStranger { public_key });
            }
            (Some(end), Some(_)) => {
                let told = (end.entries, end.checkpoints);
                if told != (sum.entries, sum.checkpoints) {
                    findings.add(Finding::NotWhole {
                        told_entries: end.entries,
                        entries: sum.entries,
                        told_checkpoints: end.checkpoints,
                        checkpoints: sum.checkpoints,
                    });
                } else if !sum.is_told_by(end) && findings.is_empty() {
                    findings.add(Finding::NotAsWritten);
                }
                is_end_proved = findings.is_empty() && belief.is_believed(end.public_key);
            }
        }
        if is_end_proved {
            summary.proved_until = Some(summary.last_sequence);
        }
        Report {
            chain: Some(header.chain),
            from_sequence: header.from_sequence,
            summary,
            kept_checkpoints,
            has_known_key,
            is_end_proved,
            findings,
        }
    }
}

impl Report {
    /// Whether nothing was found.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    /// What this check can't tell, in sentences; of a file in which nothing was found.
    pub fn unproved(&self) -> Vec<String> {
        let mut unproved = Vec::new();
        let last = self.summary.last_sequence;
        match self.summary.proved_until {
            None if self.summary.entries > 0 => unproved.push(
                "that the trail is the one that was written: whoever can write the database could have made the whole of \
                 it anew. The file only fits together. Give --checkpoints with a file that was kept elsewhere, or \
                 --public-key with the key that `GET /v1/audit/public-keys` showed before."
                    .to_owned(),
            ),
            Some(until) if until < last => unproved.push(format!(
                "that the entries after {until} are those that were written: no checkpoint that was kept elsewhere reaches \
                 further"
            )),
            _ => {}
        }
        if self.from_sequence > 1 {
            let before = self.from_sequence.saturating_sub(1);
            unproved.push(format!(
                "anything about the entries 1 to {before}: the export begins after them"
            ));
        }
        if self.kept_checkpoints == 0 {
            unproved.push(
                "that the trail was not cut off before it was exported: only a checkpoint that was kept elsewhere shows that"
                    .to_owned(),
            );
        }
        unproved
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::audit::{Detail, Entry, EntryHash, hex};
    use crate::audit_export::{EntryLine, ExportWriter, FORMAT};
    use crate::checkpoint::{AuditSigner, PublishedKey};
    use crate::hex::Hex;
    use crate::keyring::Keyring;
    use crate::random::{RandomSource, RandomUnavailable};
    use crate::time::Timestamp;

    const CHAIN: &str = "0f4a1c";
    const ENTRIES: i64 = 12;
    const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);

    struct Counting(u8);

    impl RandomSource for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(5).wrapping_add(3);
                *byte = self.0;
            }
            Ok(())
        }
    }

    struct Export {
        lines: Vec<String>,
        key: AuditPublicKey,
        checkpoints: Vec<SignedCheckpoint>,
    }

    fn signer(seed: u8) -> AuditSigner {
        let keyring = Keyring::generate(&mut Counting(seed), NOW).unwrap();
        AuditSigner::of(&keyring, 1).unwrap()
    }

    fn entries(chain: &str, length: i64) -> Vec<EntryLine> {
        let mut previous: EntryHash = CHAIN_START;
        (1..=length)
            .map(|sequence| {
                let name = format!("Line {sequence}\u{1b}[2J");
                let detail = Detail::new()
                    .fact("was", "active")
                    .personal("name", &name, &mut Counting(9))
                    .unwrap();
                let facts = detail.facts_json();
                let at = NOW.plus_ms(sequence);
                let entry = Entry {
                    chain,
                    sequence,
                    previous: &previous,
                    at,
                    actor: "local_administrator",
                    action: "key.edit",
                    target: "key/abc",
                    request_id: "r1",
                    facts: &facts,
                };
                let hash = entry.hash();
                let line = EntryLine {
                    chain: chain.to_owned(),
                    sequence,
                    previous_hash: Hex(previous),
                    hash: Hex(hash),
                    at_ms: at,
                    actor: entry.actor.to_owned(),
                    action: entry.action.to_owned(),
                    target: entry.target.to_owned(),
                    request_id: entry.request_id.to_owned(),
                    facts: facts.clone(),
                    personal: serde_json::from_str(&detail.personal_json()).unwrap(),
                };
                previous = hash;
                line
            })
            .collect()
    }

    fn export_of(entries: &[EntryLine], signer: &AuditSigner) -> Export {
        let first = entries.first().unwrap();
        let header = Header {
            keyward_audit_export: FORMAT,
            chain: first.chain.clone(),
            from_sequence: first.sequence,
            previous_hash: first.previous_hash,
            exported_at_ms: NOW,
            public_keys: vec![PublishedKey {
                public_key: signer.public_key(),
                since_ms: NOW,
                endorsement: None,
            }],
        };
        let (mut writer, line) = ExportWriter::begin(&header);
        let (mut lines, mut checkpoints) = (vec![line], Vec::new());
        for entry in entries {
            lines.push(writer.entry(entry));
            if entry.sequence % 5 == 0 {
                let checkpoint = signer.checkpoint(&entry.chain, entry.sequence, entry.hash.0, NOW);
                lines.push(writer.checkpoint(&checkpoint));
                checkpoints.push(checkpoint);
            }
        }
        lines.push(writer.end(signer));
        Export {
            lines,
            key: signer.public_key(),
            checkpoints,
        }
    }

    fn export() -> Export {
        export_of(&entries(CHAIN, ENTRIES), &signer(1))
    }

    fn check(lines: &[String], kept: Kept) -> Report {
        let mut check = ExportCheck::new(kept);
        for line in lines {
            check.line(line);
        }
        check.finish()
    }

    fn told(lines: &[String]) -> Vec<Finding> {
        check(lines, Kept::default()).findings.told
    }

    fn sequence_of(line: &str) -> Option<i64> {
        serde_json::from_str::<Value>(line).unwrap()["sequence"].as_i64()
    }

    /// Every value of a line changed, one at a time, with the path to it.
    fn changes(line: &str) -> Vec<(String, String)> {
        fn walk(value: &Value, path: &str, into: &mut Vec<String>) {
            match value {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(name, value)| walk(value, &format!("{path}/{name}"), into)),
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .for_each(|(at, value)| walk(value, &format!("{path}/{at}"), into)),
                _ => into.push(path.to_owned()),
            }
        }
        // A map would sort the names, and the first one tells what a line is.
        let whole: Value = serde_json::from_str(line).unwrap();
        let mut paths = Vec::new();
        walk(&whole, "", &mut paths);
        let mut changed = Vec::new();
        for path in paths {
            let value = whole.pointer(&path).unwrap();
            let other = match value {
                Value::String(text) => {
                    // Another digit stays one, so that it is not the form that is refused.
                    let mut characters: Vec<char> = text.chars().collect();
                    match characters.last_mut() {
                        Some(last) => *last = if *last == '1' { '2' } else { '1' },
                        None => characters.push('1'),
                    }
                    Value::String(characters.into_iter().collect())
                }
                Value::Number(number) => Value::from(number.as_i64().unwrap() + 1),
                other => panic!("{other} at {path}"),
            };
            let name = path.rsplit('/').next().unwrap();
            let (from, to) = (format!("\"{name}\":{value}"), format!("\"{name}\":{other}"));
            assert!(line.contains(&from), "{from} in {line}");
            changed.push((path, line.replacen(&from, &to, 1)));
        }
        changed
    }

    #[test]
    fn a_whole_export_is_whole_and_says_what_it_does_not_prove() {
        let export = export();
        let report = check(&export.lines, Kept::default());
        assert_eq!(report.findings.told, []);
        assert_eq!((report.summary.entries, report.summary.checkpoints), (ENTRIES, 2));
        assert_eq!(report.summary.proved_until, None);
        assert!(report.unproved()[0].contains("--checkpoints"));

        let kept = Kept {
            public_keys: vec![export.key],
            checkpoints: Vec::new(),
        };
        let report = check(&export.lines, kept);
        assert!(report.is_end_proved);
        assert_eq!(report.summary.proved_until, Some(ENTRIES));

        let kept = Kept {
            public_keys: Vec::new(),
            checkpoints: export.checkpoints.clone(),
        };
        let report = check(&export.lines, kept);
        assert_eq!(
            (report.findings.told, report.summary.proved_until),
            (vec![], Some(10))
        );
        assert_eq!(report.kept_checkpoints, 2);
    }

    #[test]
    fn every_change_of_a_single_field_is_found() {
        let export = export();
        for (at, line) in export.lines.iter().enumerate() {
            for (path, changed) in changes(line) {
                let mut lines = export.lines.clone();
                lines[at] = changed;
                let found = told(&lines);
                assert!(!found.is_empty(), "{path} of line {at}");
                if let Some(sequence) = sequence_of(line).filter(|_| path != "/sequence" && path != "/chain")
                {
                    let named = if path.starts_with("/personal") {
                        Finding::PersonalChanged {
                            sequence,
                            name: "name".to_owned(),
                        }
                    } else {
                        Finding::Changed { sequence }
                    };
                    assert!(found.contains(&named), "{path} of entry {sequence}: {found:?}");
                }
            }
            let added = line.replacen('{', "{\"more\":1,", 1);
            let mut lines = export.lines.clone();
            lines[at] = added;
            assert!(!told(&lines).is_empty(), "a field more in line {at}");
        }
    }

    #[test]
    fn every_deletion_repetition_and_swap_is_found_and_named() {
        let export = export();
        for (at, line) in export.lines.iter().enumerate() {
            let mut removed = export.lines.clone();
            removed.remove(at);
            let found = told(&removed);
            assert!(!found.is_empty(), "line {at} removed");
            let sequence = sequence_of(line);
            if let Some(sequence) = sequence {
                assert!(
                    found.contains(&Finding::Missing {
                        from: sequence,
                        to: sequence
                    }),
                    "{sequence}: {found:?}"
                );
            }
            for place in 0..=export.lines.len() {
                let mut repeated = export.lines.clone();
                repeated.insert(place, line.clone());
                assert!(!told(&repeated).is_empty(), "line {at} repeated at {place}");
            }
            for other in at + 1..export.lines.len() {
                let mut swapped = export.lines.clone();
                swapped.swap(at, other);
                let found = told(&swapped);
                assert!(!found.is_empty(), "lines {at} and {other} swapped");
                if let (Some(one), Some(two)) = (sequence, sequence_of(&export.lines[other])) {
                    let moved = |finding: &Finding| matches!(finding, Finding::OutOfPlace { sequence, .. } if *sequence == one || *sequence == two);
                    assert!(found.iter().any(moved), "{one} and {two}: {found:?}");
                    let lost = |finding: &Finding| {
                        matches!(finding, Finding::Missing { .. } | Finding::Repeated { .. })
                    };
                    assert!(!found.iter().any(lost), "{one} and {two}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_hole_is_named_with_its_ends() {
        let export = export();
        let kept = |line: &&String| sequence_of(line).is_none_or(|sequence| !(4..=8).contains(&sequence));
        let lines: Vec<String> = export.lines.iter().filter(kept).cloned().collect();
        assert!(told(&lines).contains(&Finding::Missing { from: 4, to: 8 }));
    }

    #[test]
    fn an_export_that_ends_early_is_found_by_its_missing_end_and_by_a_kept_checkpoint() {
        let export = export();
        for length in 1..export.lines.len() {
            let cut = &export.lines[..length];
            assert!(
                told(cut)
                    .iter()
                    .any(|finding| matches!(finding, Finding::NoEnd { .. })),
                "{length}"
            );
        }
        // Made anew with a genuine end: what an attacker with the server could do.
        let shorter = export_of(&entries(CHAIN, 7), &signer(1));
        assert_eq!(told(&shorter.lines), []);
        let kept = Kept {
            public_keys: vec![export.key],
            checkpoints: export.checkpoints,
        };
        let report = check(&shorter.lines, kept);
        assert_eq!(
            report.findings.told,
            [Finding::CutOff {
                last: 7,
                checkpoint: 10
            }]
        );
    }

    #[test]
    fn a_chain_that_was_made_anew_differs_from_a_kept_checkpoint_and_from_the_known_key() {
        let export = export();
        let mut other = entries(CHAIN, ENTRIES);
        for index in 6..other.len() {
            let previous = other[index - 1].hash;
            let entry = &mut other[index];
            entry.previous_hash = previous;
            "somebody else".clone_into(&mut entry.actor);
            entry.hash = Hex(entry.computed_hash());
        }
        let forged = export_of(&other, &signer(2));
        assert_eq!(told(&forged.lines), []);
        let kept = Kept {
            public_keys: Vec::new(),
            checkpoints: export.checkpoints.clone(),
        };
        assert_eq!(
            check(&forged.lines, kept).findings.told,
            [Finding::Rewritten { after: 5, until: 10 }]
        );
        let kept = Kept {
            public_keys: vec![export.key],
            checkpoints: Vec::new(),
        };
        let report = check(&forged.lines, kept);
        let stranger = signer(2).public_key();
        assert!(
            report
                .findings
                .told
                .contains(&Finding::EndByStranger { public_key: stranger })
        );
        assert!(!report.is_end_proved);
    }

    #[test]
    fn a_kept_checkpoint_that_was_forged_is_named() {
        let export = export();
        let mut forged = export.checkpoints[1].clone();
        forged.signature.0[3] ^= 1;
        let kept = Kept {
            public_keys: Vec::new(),
            checkpoints: vec![forged],
        };
        let found = check(&export.lines, kept).findings.told;
        assert_eq!(
            found,
            [Finding::CheckpointForged {
                sequence: 10,
                public_key: export.key
            }]
        );
    }

    #[test]
    fn personal_values_can_be_taken_out_and_nothing_else() {
        let export = export();
        let lines: Vec<String> = export
            .lines
            .iter()
            .map(|line| {
                let Ok(Line::Entry(mut entry)) = Line::parse(line) else {
                    return line.clone();
                };
                entry.personal.clear();
                serde_json::to_string(&entry).unwrap()
            })
            .collect();
        let kept = Kept {
            public_keys: vec![export.key],
            checkpoints: Vec::new(),
        };
        let report = check(&lines, kept);
        assert_eq!((report.findings.told, report.is_end_proved), (vec![], true));
        assert_eq!(report.summary.erased_values, ENTRIES as u64);
    }

    #[test]
    fn who_knows_an_old_key_believes_the_one_that_it_endorsed() {
        let (old, new, stranger) = (signer(1), signer(2), signer(3));
        let since = NOW.plus_ms(5);
        let published = |signer: &AuditSigner, by: &AuditSigner| PublishedKey {
            public_key: signer.public_key(),
            since_ms: since,
            endorsement: Some(by.endorse(signer.public_key(), since)),
        };
        let mut forged = published(&stranger, &stranger);
        forged.endorsement.as_mut().unwrap().by = old.public_key();
        let keys = [published(&new, &old), forged];
        let believed = believed_keys([old.public_key()], &keys);
        assert!(believed.contains(&new.public_key()) && !believed.contains(&stranger.public_key()));
        assert!(believed_keys([stranger.public_key()], &keys).len() == 1);
        assert_eq!(hex(&old.public_key().0), old.public_key().to_string());
    }

    #[test]
    fn what_is_no_export_is_said_to_be_none() {
        assert_eq!(told(&[]), [Finding::NoHeader]);
        let found = told(&["{\"keyward_audit_export\":2,\"else\":1}".to_owned()]);
        assert!(
            matches!(&found[0], Finding::Unreadable { line: 1, why } if why.contains("format 2")),
            "{found:?}"
        );
    }
}
