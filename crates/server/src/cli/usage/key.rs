//! `keyward usage key`: what happened to one key, hour by hour, in sums, as a curve, and what it could do without.

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use http::Method;
use keyward_api::usage::{AccessView, AdviceView, SeriesView, UsageRowView, UsageSummaryView};

use super::form::{Form, List, Pages, Time, path_of, print_list, print_series, top_table};
use crate::cli::client::call;
use crate::cli::keys::shown_rule;
use crate::cli::org::segment;
use crate::cli::{Surroundings, output, words};
use crate::clock;

/// Which key, and what of it.
#[derive(Args, Debug)]
pub(in crate::cli) struct OfKey {
    /// The key's id
    id: String,
    /// Sums by secret, operation, refusal, address and client
    #[arg(long, conflicts_with_all = ["series", "advice"])]
    summary: bool,
    /// A curve
    #[arg(long, conflicts_with = "advice")]
    series: bool,
    /// What it was used for against what it may do, and the least that would have done
    #[arg(long)]
    advice: bool,
    /// How long a point of the curve is
    #[arg(long, requires = "series", default_value = "day", value_parser = PossibleValuesParser::new(["hour", "day"]))]
    by: String,
    /// By the uses of so many days
    #[arg(long, requires = "advice", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=400))]
    days: u32,
    #[command(flatten)]
    time: Time,
    /// Only with this outcome: `ok`, `refused` for every refusal, or the code of one
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Only for this operation, or `identify`
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Only from this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Only by this client, as it is shown
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only with the secret of this number; 0 for attempts where only the key's id matched
    #[arg(long, value_name = "NUMBER")]
    secret: Option<u32>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    pages: Pages,
}

pub(super) async fn show(surroundings: &Surroundings, command: OfKey) -> Result<()> {
    let key = format!("/v1/keys/{}", segment(&command.id)?);
    let target = &surroundings.target;
    if command.summary || command.advice {
        command.form.refuse_without_list()?;
    }
    if command.summary {
        let path = path_of(&format!("{key}/usage/summary"), command.time.into_pairs());
        let summary: UsageSummaryView = call(target, Method::GET, &path, None).await?;
        return show_summary(surroundings, &summary);
    }
    if command.series {
        let mut pairs = command.time.into_pairs();
        pairs.push(("by", command.by));
        let path = path_of(&format!("{key}/usage/series"), pairs);
        let series: SeriesView = call(target, Method::GET, &path, None).await?;
        return print_series(surroundings, &series, command.form);
    }
    if command.advice {
        let path = path_of(&format!("{key}/advice"), [("days", command.days.to_string())]);
        let advice: AdviceView = call(target, Method::GET, &path, None).await?;
        return show_advice(surroundings, &advice);
    }
    history(surroundings, &key, command).await
}

async fn history(surroundings: &Surroundings, key: &str, command: OfKey) -> Result<()> {
    let mut pairs = command.time.into_pairs();
    let filters = [
        ("outcome", command.outcome),
        ("operation", command.operation),
        ("address", command.address),
        ("client", command.client),
        ("secret", command.secret.map(|number| number.to_string())),
    ];
    let is_narrowed = !pairs.is_empty() || filters.iter().any(|(_, value)| value.is_some());
    pairs.extend(
        filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let heading = |row: &UsageRowView| {
        output::facts(&[("Key", row.key_name.clone()), ("Id", row.key_id.clone())]);
        output::data("\n");
    };
    let row = |row: &UsageRowView| {
        vec![
            row.hour.clone(),
            secret_words(row.secret),
            row.operation.clone(),
            row.outcome.clone(),
            row.uses.to_string(),
            row.address.clone(),
            row.client.clone(),
            row.last_at.clone(),
        ]
    };
    let empty = if is_narrowed {
        "nothing of this key fits; leave a filter out, or look further back with --from".to_owned()
    } else {
        "nobody used or tried this key in the last 30 days; --from 400d looks further back. Counts begin with the first request \
         that carries the key"
            .to_owned()
    };
    let list = List {
        path: path_of(&format!("{key}/usage"), pairs),
        heading: Some(&heading),
        columns: &[
            "HOUR",
            "SECRET",
            "OPERATION",
            "OUTCOME",
            "USES",
            "ADDRESS",
            "CLIENT",
            "LAST",
        ],
        row: &row,
        empty,
    };
    print_list(surroundings, list, (command.form, command.pages)).await
}

/// The number of a secret; attempts that had only the id right had none.
fn secret_words(number: i64) -> String {
    match number {
        0 => "wrong".to_owned(),
        number => number.to_string(),
    }
}

fn show_summary(surroundings: &Surroundings, summary: &UsageSummaryView) -> Result<()> {
    if surroundings.is_json {
        return output::json(summary);
    }
    let now = clock::now();
    let totals = summary.totals;
    output::facts(&[
        ("Key", summary.key_name.clone()),
        ("Id", summary.key_id.clone()),
        ("From", summary.from.clone()),
        ("To", summary.to.clone()),
        ("Accepted", totals.accepted.to_string()),
        ("Refused", totals.refused.to_string()),
        ("Only the id matched", totals.only_id_matched.to_string()),
    ]);
    let secrets = summary.secrets.iter().map(|secret| {
        vec![
            secret.number.to_string(),
            secret.accepted.to_string(),
            secret.refused.to_string(),
            words::ago(secret.last_tried_at.as_deref(), now),
            words::ago(secret.last_used_at.as_deref(), now),
            secret.last_use.as_ref().map_or_else(String::new, words::last_use),
        ]
    });
    let header = ["SECRET", "ACCEPTED", "REFUSED", "LAST TRIED", "LAST USED", "BY"];
    print_part(&header, secrets.collect());
    let operations = summary.operations.iter().map(|one| {
        vec![
            one.operation.clone(),
            one.accepted.to_string(),
            one.refused.to_string(),
        ]
    });
    print_part(&["OPERATION", "ACCEPTED", "REFUSED"], operations.collect());
    let refusals = summary.refusals.iter().map(|refusal| {
        vec![
            refusal.code.clone(),
            refusal.uses.to_string(),
            words::ago(refusal.last_at.as_deref(), now),
        ]
    });
    print_part(&["REFUSAL", "HOW OFTEN", "LAST"], refusals.collect());
    for (what, entries) in [("ADDRESS", &summary.addresses), ("CLIENT", &summary.clients)] {
        if !entries.is_empty() {
            output::data(&format!("\n{}", top_table(what, entries)));
        }
    }
    Ok(())
}

/// A table below another one, if it has rows.
pub(super) fn print_part(header: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        output::data("\n");
        output::table(header, rows);
    }
}

fn show_advice(surroundings: &Surroundings, advice: &AdviceView) -> Result<()> {
    if surroundings.is_json {
        return output::json(advice);
    }
    let or_nothing = |operations: &[String]| match operations {
        [] => "nothing".to_owned(),
        operations => operations.join(", "),
    };
    let used = match (advice.uses, advice.used.as_slice()) {
        (1.., []) => "nothing but to say whose key it is".to_owned(),
        (_, used) => or_nothing(used),
    };
    let mut facts = vec![
        ("Key", advice.key_name.clone()),
        ("Id", advice.key_id.clone()),
        ("Uses", format!("{} in {} days", advice.uses, advice.days)),
        ("Has", access_words(&advice.now)),
        ("Used for", used),
        ("Not used for", or_nothing(&advice.unused)),
    ];
    if !advice.no_longer_allowed.is_empty() {
        facts.push((
            "Used for, not allowed any more",
            advice.no_longer_allowed.join(", "),
        ));
    }
    facts.extend(
        advice
            .level
            .as_ref()
            .map(|access| ("Enough would be", access_words(access))),
    );
    facts.extend(
        advice
            .rules
            .as_ref()
            .map(|access| ("And by rules", access_words(access))),
    );
    output::facts(&facts);
    output::note(&advice.message);
    if let Some(edit) = &advice.edit {
        let body = serde_json::to_string(edit)?;
        output::note(&format!(
            "as a request: PATCH /v1/keys/{} with If-Match and the body\n  {body}",
            advice.key_id
        ));
    }
    Ok(())
}

/// `dataset; read only`, and the rules.
fn access_words(access: &AccessView) -> String {
    let rules = access.rules.iter().flatten().map(shown_rule);
    let parts = [access.scopes.join(", "), access.level.replace('_', " ")];
    parts.into_iter().chain(rules).collect::<Vec<_>>().join("; ")
}
