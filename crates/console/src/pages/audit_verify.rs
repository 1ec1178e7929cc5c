//! Verify the audit trail as it lies in the database, and sign how far it has come.
//!
//! The result says what fits, what does not, and what no check inside this server can prove. It is shown by the form's answer: a link
//! alone makes nobody's server read its whole trail.

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_engine::check_audit::AuditChecked;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, counted};

/// Most findings that the page shows one by one.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "audit_verify.html")]
struct VerifyPage {
    shell: Shell,
    base: String,
    checked: Option<Checked>,
    checkpoint: Option<Checkpoint>,
}

/// What a check came to.
struct Checked {
    is_whole: bool,
    at: When,
    entries: String,
    head: i64,
    checkpoints: String,
    proved_until: Option<i64>,
    /// The entry after which no checkpoint stands for any, if there are some.
    unproved_after: Option<i64>,
    erased: Option<String>,
    findings: Vec<String>,
    more: u64,
}

/// A checkpoint that was just signed.
struct Checkpoint {
    sequence: i64,
    line: String,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let read = ManagementRight::AuditRead;
    routes
        .page("/org/{organization}/audit/verify", read, show)
        .form("/org/{organization}/audit/verify", read, verify)
        .form("/org/{organization}/audit/checkpoint", read, sign)
}

fn verify_page(
    visit: &Visit,
    call: &Call,
    checked: Option<Checked>,
    checkpoint: Option<Checkpoint>,
) -> Result<Response, Refused> {
    reply::page(&VerifyPage {
        shell: Shell::of(visit, call, Section::Audit, "Verify the audit trail", &[]),
        base: visit.url("audit"),
        checked,
        checkpoint,
    })
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    verify_page(&visit, &call, None, None)
}

async fn verify(visit: Visit, call: Call) -> Result<Response, Refused> {
    visit.count_costly(call.engine())?;
    let checked = call.engine().check_audit(visit.id().as_str()).await?;
    verify_page(&visit, &call, Some(words_of(&checked, &call)), None)
}

async fn sign(visit: Visit, call: Call) -> Result<Response, Refused> {
    visit.count_costly(call.engine())?;
    let made = call
        .engine()
        .checkpoint_audit(call.context.clone(), visit.id().as_str())
        .await?;
    let checkpoint = Checkpoint {
        sequence: made.sequence,
        line: made.to_line(),
    };
    verify_page(&visit, &call, None, Some(checkpoint))
}

fn words_of(checked: &AuditChecked, call: &Call) -> Checked {
    let positive = |count: i64| u64::try_from(count).unwrap_or(0);
    let summary = &checked.summary;
    let findings = &checked.findings;
    let hidden = findings.told.len().saturating_sub(SHOWN);
    let sentence = |text: String| {
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string());
        format!("{}{}.", first.unwrap_or_default(), letters.as_str())
    };
    Checked {
        is_whole: findings.is_empty(),
        at: When::exact(call.now()),
        entries: counted(positive(summary.entries), "entry", "entries"),
        head: checked.head,
        checkpoints: counted(positive(summary.checkpoints), "checkpoint", "checkpoints"),
        proved_until: summary.proved_until,
        unproved_after: (summary.proved_until != Some(checked.head))
            .then(|| summary.proved_until.unwrap_or(0)),
        erased: (summary.erased_values > 0).then(|| {
            counted(
                summary.erased_values,
                "personal value was",
                "personal values were",
            )
        }),
        findings: findings
            .told
            .iter()
            .take(SHOWN)
            .map(|finding| sentence(finding.to_string()))
            .collect(),
        more: findings.more.saturating_add(hidden as u64),
    }
}
