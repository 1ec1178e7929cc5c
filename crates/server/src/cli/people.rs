//! `keyward people`: let a person in who has no passphrase yet, or lost what they sign in with.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use keyward_api::people::SignInLinkView;
use serde_json::json;

use super::Surroundings;
use super::client::call;
use super::output;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum People {
    /// Print a one-time link with which a person sets their passphrase, on the machine of the server alone
    ///
    /// It is good for a day and once, and an earlier link of theirs is good no more. Whoever has it can sign in as this person: send it
    /// to them alone.
    Link {
        /// Their e-mail address
        email: String,
        /// Remove their second factor and its recovery codes as well, when the link is used
        #[arg(long)]
        begin_anew: bool,
    },
}

pub(super) async fn run(surroundings: &Surroundings, command: People) -> Result<()> {
    let People::Link { email, begin_anew } = command;
    let target = surroundings.target.on_this_machine();
    let purpose = if begin_anew {
        "begin_anew"
    } else {
        "set_passphrase"
    };
    let body = json!({ "email": email, "purpose": purpose });
    let made: SignInLinkView = call(&target, Method::POST, "/v1/people/link", Some(body)).await?;
    if surroundings.is_json {
        return output::json(&made);
    }
    output::data(&format!("{}\n", made.link));
    let factor = if begin_anew {
        "Their second factor is removed when it is used"
    } else {
        "A second factor that they have is asked for afterwards; `--begin-anew` removes it"
    };
    output::note(&format!(
        "with this link {} sets a passphrase, once, until {}. Whoever has it can sign in as them: send it to them alone. It is shown \
         this once. {factor}",
        made.email, made.expires_at
    ));
    Ok(())
}
