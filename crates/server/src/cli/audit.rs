//! `keyward audit`: list, export, check and verify the audit trail, sign checkpoints, erase personal values.
//!
//! `audit verify` needs no server and no data folder: an auditor has nothing but files. It reads a line at a time. A trail
//! that is not as it was written ends with the exit code 5, here and in `audit check`, so that a script can tell it from a
//! file that could not be read.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use http::Method;
use keyward_api::audit::{
    AuditCheckView, AuditEntryView, AuditPublicKeysView, CheckpointView, ErasedView, FindingView,
};
use keyward_core::audit_verify::{ExportCheck, Kept, Report};
use keyward_core::checkpoint::{AuditPublicKey, SignedCheckpoint};
use keyward_http::management::ListView;
use serde_json::{Value, json};

use super::client::{Client, call};
use super::org::meant;
use super::{Surroundings, output};

/// The exit code where the trail is not as it was written.
pub(super) const TAMPERED_EXIT_CODE: u8 = 5;
/// Longer than any line that an export has.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Audit {
    /// List entries, newest first
    List {
        #[command(flatten)]
        chain: Chain,
        /// Only what they did: `person/ID`, `token/ID`, `key/ID`, `local_administrator`, `system`
        #[arg(long)]
        actor: Option<String>,
        /// Only this: `key.create`, `member.remove`, ...
        #[arg(long)]
        action: Option<String>,
        /// Only what was done to this: `key/ID`, `person/ID`, ...
        #[arg(long)]
        target: Option<String>,
        /// At or after this moment: `2027-01-31T12:00:00Z`
        #[arg(long, value_name = "MOMENT")]
        from: Option<String>,
        /// Before this moment
        #[arg(long, value_name = "MOMENT")]
        to: Option<String>,
        /// At most so many, up to 1000
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
        /// Go on where the list before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Export the trail as JSON Lines, for `keyward audit verify`; the export is an entry itself
    Export {
        #[command(flatten)]
        chain: Chain,
        /// The number of the first entry
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from_sequence: i64,
        /// The file to write, which must not be there [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Sign now how far the trail has come, and print the line to keep elsewhere
    Checkpoint {
        #[command(flatten)]
        chain: Chain,
    },
    /// Have the server check the trail in its database; exit code 5 if it is not as it was written
    Check {
        #[command(flatten)]
        chain: Chain,
    },
    /// Print the public keys that checkpoints and exports are signed with; keep them elsewhere
    PublicKeys,
    /// Erase personal values from the trail, which stays provable: an Owner's or the local administrator's
    Erase {
        #[command(flatten)]
        chain: Chain,
        #[command(flatten)]
        what: What,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Check an export without any server; exit code 5 if it is not as it was written
    Verify {
        /// The export; `-` for standard input
        file: PathBuf,
        /// A file with checkpoints that was kept elsewhere: what `serve --audit-checkpoint-file` or `audit checkpoint` wrote
        #[arg(long, value_name = "FILE")]
        checkpoints: Option<PathBuf>,
        /// A public key that you know to be the installation's, from `audit public-keys`; may be given several times
        #[arg(long, value_name = "KEY")]
        public_key: Vec<AuditPublicKey>,
    },
}

/// Which chain.
#[derive(Args, Debug)]
pub(super) struct Chain {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID", conflicts_with = "installation")]
    organization: Option<String>,
    /// What belongs to no organization: the keyring, restores, the start
    #[arg(long)]
    installation: bool,
}

/// What is erased.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// This value, wherever it is: an e-mail address, a name
    #[arg(long)]
    value: Option<String>,
    /// Those of every entry about this: `person/ID`, `key/ID`
    #[arg(long)]
    target: Option<String>,
    /// Those of the entry with this number
    #[arg(long, value_name = "NUMBER")]
    sequence: Option<i64>,
}

pub(super) async fn run(surroundings: &Surroundings, command: Audit) -> Result<ExitCode> {
    let is_json = surroundings.is_json;
    match command {
        Audit::List {
            chain,
            actor,
            action,
            target,
            from,
            to,
            limit,
            cursor,
        } => {
            let filters = [
                ("actor", actor),
                ("action", action),
                ("target", target),
                ("from", from),
                ("to", to),
                ("cursor", cursor),
            ];
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            for (name, value) in filters {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
            let path = format!("{}?{}", path_of(surroundings, chain).await?, query.finish());
            let page: ListView<AuditEntryView> = call(&surroundings.target, Method::GET, &path, None).await?;
            list(is_json, &page)?;
        }
        Audit::Export {
            chain,
            from_sequence,
            output,
        } => {
            let path = format!(
                "{}/export?from_sequence={from_sequence}",
                path_of(surroundings, chain).await?
            );
            export(surroundings, &path, output.as_deref()).await?;
        }
        Audit::Checkpoint { chain } => {
            let path = format!("{}/checkpoints", path_of(surroundings, chain).await?);
            let made: CheckpointView = call(&surroundings.target, Method::POST, &path, None).await?;
            if is_json {
                output::json(&made)?;
            } else {
                output::data(&format!("{}\n", made.line));
                output::note(&format!(
                    "signed at entry {}; keep the line where whoever can write the database can't, for `keyward audit verify \
                     --checkpoints`",
                    made.sequence
                ));
            }
        }
        Audit::Check { chain } => {
            let path = format!("{}/check", path_of(surroundings, chain).await?);
            let checked: AuditCheckView = call(&surroundings.target, Method::POST, &path, None).await?;
            show_check(is_json, &checked)?;
            return Ok(verdict(checked.is_whole));
        }
        Audit::PublicKeys => {
            let path = "/v1/audit/public-keys";
            let keys: AuditPublicKeysView = call(&surroundings.target, Method::GET, path, None).await?;
            show_keys(is_json, &keys)?;
        }
        Audit::Erase { chain, what, yes } => erase(surroundings, chain, what, yes).await?,
        Audit::Verify {
            file,
            checkpoints,
            public_key,
        } => {
            let (kept, passed_over) = checkpoints
                .as_deref()
                .map(read_checkpoints)
                .transpose()?
                .unwrap_or_default();
            let kept = Kept {
                public_keys: public_key,
                checkpoints: kept,
            };
            let report = verify(&file, kept)?;
            show_report(is_json, &report, passed_over)?;
            return Ok(verdict(report.is_whole()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn verdict(is_whole: bool) -> ExitCode {
    if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(TAMPERED_EXIT_CODE)
    }
}

async fn path_of(surroundings: &Surroundings, chain: Chain) -> Result<String> {
    if chain.installation {
        return Ok("/v1/audit".to_owned());
    }
    let organization = meant(&surroundings.target, chain.organization).await?;
    Ok(format!("/v1/organizations/{organization}/audit"))
}

fn list(is_json: bool, page: &ListView<AuditEntryView>) -> Result<()> {
    if is_json {
        return output::json(page);
    }
    let row = |entry: &AuditEntryView| {
        let mut told: Vec<String> = entry
            .personal
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        for (name, value) in entry.facts.as_object().into_iter().flatten() {
            if !name.ends_with("_commitment") {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                told.push(format!("{name}: {value}"));
            }
        }
        vec![
            entry.sequence.to_string(),
            entry.at.clone(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.target.clone(),
            told.join(", "),
        ]
    };
    if page.items.is_empty() {
        output::note("no such entry");
    } else {
        let header = ["ENTRY", "AT", "ACTOR", "ACTION", "TARGET", "WHAT"];
        output::table(&header, page.items.iter().map(row).collect());
    }
    if let Some(next) = &page.next {
        output::note(&format!("there are older ones: add --cursor {next}"));
    }
    Ok(())
}

async fn export(surroundings: &Surroundings, path: &str, file: Option<&Path>) -> Result<()> {
    let client = Client::connect(&surroundings.target).await?;
    let Some(file) = file else {
        let mut out = std::io::stdout().lock();
        return client.download(path, &mut out).await;
    };
    let shown = file.display();
    // An export holds names and addresses, and none that is there is lost.
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let mut out =
        opened.with_context(|| format!("could not make the file `{shown}`; is it there already?"))?;
    client
        .download(path, &mut out)
        .await
        .with_context(|| format!("`{shown}` is not whole; delete it and export again"))?;
    out.flush()
        .and_then(|()| out.sync_all())
        .with_context(|| format!("could not write `{shown}`"))?;
    output::note(&format!(
        "exported to {shown}; check it anywhere with `keyward audit verify {shown}`"
    ));
    Ok(())
}

async fn erase(surroundings: &Surroundings, chain: Chain, what: What, yes: bool) -> Result<()> {
    let path = format!("{}/erase", path_of(surroundings, chain).await?);
    let What {
        value,
        target,
        sequence,
    } = what;
    let (body, of): (Value, String) = match (value, target, sequence) {
        (Some(value), _, _) => (json!({ "value": value }), format!("`{value}`, wherever it is")),
        (_, Some(target), _) => (
            json!({ "target": target }),
            format!("the personal values of every entry about {target}"),
        ),
        (_, _, sequence) => {
            let sequence = sequence.unwrap_or_default();
            (
                json!({ "sequence": sequence }),
                format!("the personal values of entry {sequence}"),
            )
        }
    };
    let question = format!(
        "Erase {of}? They never come back. The trail stays provable; exports and backups that were made before still hold them."
    );
    if !yes && !output::is_confirmed(&question)? {
        return Ok(());
    }
    let erased: ErasedView = call(&surroundings.target, Method::POST, &path, Some(body)).await?;
    if surroundings.is_json {
        return output::json(&erased);
    }
    output::note(&format!(
        "erased {} values of {} entries",
        erased.values, erased.entries
    ));
    Ok(())
}

/// Checkpoints that were kept elsewhere, and how many lines could not be read: half a line after a crash is no reason to
/// lose the others.
fn read_checkpoints(file: &Path) -> Result<(Vec<SignedCheckpoint>, u64)> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("could not read the checkpoints in `{shown}`"))?;
    let (mut kept, mut passed_over) = (Vec::new(), 0);
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match SignedCheckpoint::from_line(line) {
            Ok(checkpoint) => kept.push(checkpoint),
            Err(why) => {
                passed_over += 1;
                output::note(&format!(
                    "line {} of `{shown}` is no checkpoint and was passed over: {why}",
                    number + 1
                ));
            }
        }
    }
    ensure!(
        !kept.is_empty(),
        "there is no checkpoint in `{shown}`; give the file that `keyward serve --audit-checkpoint-file` or `keyward audit \
         checkpoint` wrote"
    );
    Ok((kept, passed_over))
}

fn verify(file: &Path, kept: Kept) -> Result<Report> {
    let shown = file.display();
    let mut input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file);
        Box::new(BufReader::new(
            opened.with_context(|| format!("could not open the export `{shown}`"))?,
        ))
    };
    let mut check = ExportCheck::new(kept);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if read.with_context(|| format!("could not read `{shown}`"))? == 0 {
            return Ok(check.finish());
        }
        if line.len() as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            input
                .skip_until(b'\n')
                .with_context(|| format!("could not read `{shown}`"))?;
            check.unreadable_line("it is longer than any line of an export");
            continue;
        }
        match std::str::from_utf8(&line) {
            Ok(text) => check.line(text),
            Err(_) => check.unreadable_line("it is not UTF-8"),
        }
    }
}

fn show_report(is_json: bool, report: &Report, passed_over: u64) -> Result<()> {
    let findings = FindingView::of_all(&report.findings);
    let unproved = if report.is_whole() {
        report.unproved()
    } else {
        Vec::new()
    };
    let summary = &report.summary;
    if is_json {
        return output::json(&json!({
            "chain": report.chain,
            "is_whole": report.is_whole(),
            "from_sequence": report.from_sequence,
            "last_sequence": summary.last_sequence,
            "entries": summary.entries,
            "checkpoints": summary.checkpoints,
            "kept_checkpoints": report.kept_checkpoints,
            "kept_lines_passed_over": passed_over,
            "proved_until": summary.proved_until,
            "is_end_proved": report.is_end_proved,
            "erased_values": summary.erased_values,
            "findings": findings,
            "more_findings": report.findings.more,
            "not_proved": unproved,
        }));
    }
    output::facts(&[
        (
            "Chain",
            report.chain.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "Entries",
            format!(
                "{}, from {} to {}",
                summary.entries, report.from_sequence, summary.last_sequence
            ),
        ),
        (
            "Checkpoints",
            format!(
                "{} fit, {} of them kept elsewhere or given",
                summary.checkpoints, report.kept_checkpoints
            ),
        ),
        ("Erased values", summary.erased_values.to_string()),
        (
            "Proved until",
            summary.proved_until.map_or_else(
                || "nothing is proved".to_owned(),
                |until| format!("entry {until}"),
            ),
        ),
    ]);
    show_findings(&findings, report.findings.more);
    if report.is_whole() {
        output::data("Nothing was changed, removed, moved or inserted, as far as this can be told.\n");
        for sentence in unproved {
            output::data(&format!("NOT proved: {sentence}\n"));
        }
    } else {
        output::note(
            "this is not the trail that was written. Export it again and compare; if that shows the same, have the server check \
             its database with `keyward audit check`, and keep the file as evidence",
        );
    }
    Ok(())
}

fn show_findings(findings: &[FindingView], more: u64) {
    if findings.is_empty() {
        return;
    }
    let row = |finding: &FindingView| {
        let entry = finding
            .sequence
            .map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        vec![entry, finding.kind.clone(), finding.message.clone()]
    };
    output::table(&["ENTRY", "KIND", "WHAT"], findings.iter().map(row).collect());
    if more > 0 {
        output::note(&format!("and {more} more"));
    }
}

fn show_check(is_json: bool, checked: &AuditCheckView) -> Result<()> {
    if is_json {
        return output::json(checked);
    }
    output::facts(&[
        ("Chain", checked.chain.clone()),
        ("Entries", format!("{}, up to {}", checked.entries, checked.head)),
        ("Checkpoints", format!("{} fit", checked.checkpoints)),
        ("Erased values", checked.erased_values.to_string()),
        (
            "Proved until",
            checked.proved_until.map_or_else(
                || "nothing is proved".to_owned(),
                |until| format!("entry {until}"),
            ),
        ),
    ]);
    show_findings(&checked.findings, checked.more_findings);
    if checked.is_whole {
        output::data("The database's trail fits together.\n");
        if checked.proved_until != Some(checked.head) {
            let after = checked.proved_until.unwrap_or(0);
            output::data(&format!(
                "NOT proved: that the entries after {after} are those that were written; `keyward audit checkpoint` signs them \
                 from now on\n"
            ));
        }
        output::data(
            "NOT proved: that entries and their checkpoints were not taken away together; `keyward audit verify --checkpoints` \
             with a file that was kept elsewhere shows that\n",
        );
    } else {
        output::note(
            "the database was changed by other means than this program; compare it with a backup and with kept exports",
        );
    }
    Ok(())
}

fn show_keys(is_json: bool, keys: &AuditPublicKeysView) -> Result<()> {
    if is_json {
        return output::json(keys);
    }
    let rows = keys.items.iter().map(|key| {
        let by = key.endorsed_by.clone().unwrap_or_else(|| "-".to_owned());
        vec![key.public_key.clone(), key.since.clone(), by]
    });
    output::table(&["PUBLIC KEY", "SINCE", "ENDORSED BY"], rows.collect());
    Ok(())
}
