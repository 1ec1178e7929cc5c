//! `keyward usage org`, `unused`, `addresses`, `top`: what concerns all keys of an organization.

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use http::Method;
use keyward_api::keys::KeyView;
use keyward_api::usage::{OrganizationUsageView, SeenAddressView, SeriesView, TopEntryView};
use keyward_http::management::ListView;

use super::form::{Form, List, Pages, Time, path_of, print_list, print_series, print_top};
use super::key::print_part;
use crate::cli::client::call;
use crate::cli::org::meant;
use crate::cli::{Surroundings, output, words};
use crate::clock;

/// Of which organization, and what.
#[derive(Args, Debug)]
pub(in crate::cli) struct OfOrganization {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    /// A curve
    #[arg(long)]
    series: bool,
    /// How long a point of the curve is
    #[arg(long, requires = "series", default_value = "day", value_parser = PossibleValuesParser::new(["hour", "day"]))]
    by: String,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    form: Form,
}

/// Which unused keys.
#[derive(Args, Debug)]
pub(in crate::cli) struct Unused {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    /// Not used for so many days; a key that was never used counts from its creation
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    pages: Pages,
}

/// Which addresses.
#[derive(Args, Debug)]
pub(in crate::cli) struct Addresses {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    /// First seen in so many days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    pages: Pages,
}

/// Who used keys most.
#[derive(Args, Debug)]
pub(in crate::cli) struct Top {
    /// Whom to list
    #[arg(default_value = "addresses", value_parser = PossibleValuesParser::new(["addresses", "clients"]))]
    of: String,
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    #[command(flatten)]
    time: Time,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    #[command(flatten)]
    form: Form,
}

async fn path_in(surroundings: &Surroundings, named: Option<String>, rest: &str) -> Result<String> {
    let organization = meant(&surroundings.target, named).await?;
    Ok(format!("/v1/organizations/{organization}/usage{rest}"))
}

pub(super) async fn show(surroundings: &Surroundings, command: OfOrganization) -> Result<()> {
    let target = &surroundings.target;
    let mut pairs = command.time.into_pairs();
    if command.series {
        pairs.push(("by", command.by));
        let path = path_of(
            &path_in(surroundings, command.organization, "/series").await?,
            pairs,
        );
        let series: SeriesView = call(target, Method::GET, &path, None).await?;
        return print_series(surroundings, &series, command.form);
    }
    command.form.refuse_without_list()?;
    let path = path_of(&path_in(surroundings, command.organization, "").await?, pairs);
    let usage: OrganizationUsageView = call(target, Method::GET, &path, None).await?;
    if surroundings.is_json {
        return output::json(&usage);
    }
    show_overview(&usage);
    Ok(())
}

fn show_overview(usage: &OrganizationUsageView) {
    let now = clock::now();
    let keys = usage.keys;
    output::facts(&[
        ("Organization", usage.organization_id.clone()),
        ("From", usage.from.clone()),
        ("To", usage.to.clone()),
        ("Accepted", usage.totals.accepted.to_string()),
        ("Refused", usage.totals.refused.to_string()),
        ("Keys", keys.total.to_string()),
        ("  used within a day", keys.within_a_day.to_string()),
        ("  within 7 days", keys.within_7_days.to_string()),
        ("  within 30 days", keys.within_30_days.to_string()),
        ("  longer ago", keys.longer_ago.to_string()),
        ("  never", keys.never.to_string()),
    ]);
    let operations = usage.operations.iter().map(|one| {
        vec![
            one.operation.clone(),
            one.accepted.to_string(),
            one.refused.to_string(),
        ]
    });
    print_part(&["OPERATION", "ACCEPTED", "REFUSED"], operations.collect());
    let refusals = usage.refusals.iter();
    let refusals = refusals.map(|refusal| vec![refusal.code.clone(), refusal.uses.to_string()]);
    print_part(&["REFUSAL", "HOW OFTEN"], refusals.collect());
    let used = usage.last_used.iter().map(|key| {
        vec![
            key.key_name.clone(),
            key.key_id.clone(),
            words::ago(Some(&key.last_used_at), now),
        ]
    });
    print_part(&["USED LAST", "ID", "WHEN"], used.collect());
    print_part(&SEEN_COLUMNS, usage.new_addresses.iter().map(seen_row).collect());
    let rises = usage.rises.iter().map(|rise| {
        vec![
            rise.key_name.clone(),
            rise.key_id.clone(),
            rise.recent.to_string(),
            rise.baseline.to_string(),
            words::ago(Some(&rise.last_at), now),
        ]
    });
    let header = ["REFUSALS RISE", "ID", "IN 24 HOURS", "IN 14 DAYS BEFORE", "LAST"];
    print_part(&header, rises.collect());
    if usage.totals == Default::default() {
        output::note(
            "nobody used or tried a key in this time. Counts begin with the first request; `keyward keys list` shows the keys, and \
             --from looks further back",
        );
    } else if keys.longer_ago + keys.never > 0 {
        output::note("`keyward usage unused` lists the keys that nobody uses");
    }
}

const SEEN_COLUMNS: [&str; 6] = ["NEW ADDRESS", "FIRST SEEN", "LAST SEEN", "KEY", "ID", ""];

fn seen_row(seen: &SeenAddressView) -> Vec<String> {
    let now = clock::now();
    let first = if seen.is_first_of_key {
        "the key's first"
    } else {
        ""
    };
    vec![
        seen.address.clone(),
        words::ago(Some(&seen.first_at), now),
        words::ago(Some(&seen.last_at), now),
        seen.key_name.clone(),
        seen.key_id.clone(),
        first.to_owned(),
    ]
}

pub(super) async fn unused(surroundings: &Surroundings, command: Unused) -> Result<()> {
    let days = command.days;
    let path = path_in(surroundings, command.organization, "/unused").await?;
    let row = |key: &KeyView| {
        let now = clock::now();
        vec![
            key.name.clone(),
            key.id.clone(),
            words::state(&key.state, key.state_reason.as_deref()),
            words::ago(key.last_used_at.as_deref(), now),
            words::ago(Some(&key.created_at), now),
            key.scopes.join(","),
            key.level.replace('_', " "),
            key.created_by.clone(),
        ]
    };
    let list = List {
        path: path_of(&path, [("days", days.to_string())]),
        heading: None,
        columns: &[
            "NAME",
            "ID",
            "STATE",
            "LAST USED",
            "CREATED",
            "ACCESS",
            "PERMISSION",
            "CREATED BY",
        ],
        row: &row,
        empty: format!(
            "every living key was used in the last {days} days, or is younger than that; a smaller --days finds more"
        ),
    };
    print_list(surroundings, list, (command.form, command.pages)).await?;
    if !surroundings.is_json && !command.form.is_lines() {
        output::note(&format!(
            "`keyward keys bulk pause --unused-for {days}d` pauses such keys after a look at which; `delete` ends them"
        ));
    }
    Ok(())
}

pub(super) async fn addresses(surroundings: &Surroundings, command: Addresses) -> Result<()> {
    let days = command.days;
    let path = path_in(surroundings, command.organization, "/addresses").await?;
    let list = List {
        path: path_of(&path, [("days", days.to_string())]),
        heading: None,
        columns: &SEEN_COLUMNS,
        row: &seen_row,
        empty: format!(
            "no key was used from a new address in the last {days} days; --days looks further back"
        ),
    };
    print_list(surroundings, list, (command.form, command.pages)).await
}

pub(super) async fn top(surroundings: &Surroundings, command: Top) -> Result<()> {
    let path = path_in(surroundings, command.organization, "/top").await?;
    let what = if command.of == "clients" {
        "CLIENT"
    } else {
        "ADDRESS"
    };
    let mut pairs = command.time.into_pairs();
    pairs.extend([("of", command.of), ("limit", command.limit.to_string())]);
    let found: ListView<TopEntryView> =
        call(&surroundings.target, Method::GET, &path_of(&path, pairs), None).await?;
    print_top(surroundings, found, (command.form, what))
}
