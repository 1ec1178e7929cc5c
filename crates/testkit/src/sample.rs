//! An organization as one finds it at work, made through the real program: for pictures of every page and for tests that look at all.
//!
//! Keys of each environment, used, refused, rotating, paused, overdue and deleted; people, an invitation, a management token, a contact.
//! The program's clock can't be moved, so some rows are given an age in its database afterwards.

use std::path::Path;

use serde_json::Value;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use crate::server::{Installation, KeywardProcess, Snippet};
use crate::wire;

/// A passphrase for every person of the sample.
pub const PASSPHRASE: &str = "seven violet kettles hum at dawn";
/// Whom `keyward quickstart` makes the Owner.
pub const OWNER: &str = "owner@localhost";

const DAY_MS: i64 = 86_400_000;

/// A running server with the sample in it.
pub struct Sample {
    /// The server.
    pub keyward: KeywardProcess,
    /// Where it is, and its first key.
    pub snippet: Snippet,
    /// Names of keys and their ids.
    pub keys: Vec<(&'static str, String)>,
    /// The path of a link that sets the Owner's passphrase.
    pub link: String,
    /// The id of a management token.
    pub token: String,
    /// The id of a member who is not the Owner.
    pub person: String,
    /// The path of an invitation that is open.
    pub invitation: String,
}

/// A page of the console by a short name.
pub struct Page {
    /// For a file's name.
    pub name: &'static str,
    /// Its path.
    pub path: String,
}

impl Sample {
    /// Makes one.
    pub fn new(program: &Path) -> Self {
        let keyward = KeywardProcess::quickstart(Installation::new(program));
        let snippet = keyward.ready();
        let create = |name: &'static str, more: &[&str]| {
            let made = keyward.cli_json(&[&["keys", "create", "--name", name][..], more].concat());
            (text(&made, "id"), text(&made, "value"))
        };
        let deployment = create(
            "production-deployment",
            &[
                "--environment",
                "production",
                "--scopes",
                "deployment",
                "--description",
                "The grasp service in three halls",
            ],
        );
        let training = create(
            "training-automation",
            &["--environment", "production", "--scopes", "dataset,training"],
        );
        let pipeline = create(
            "annotation-pipeline",
            &[
                "--environment",
                "ci-cd",
                "--scopes",
                "dataset",
                "--level",
                "labeler-only",
            ],
        );
        let dashboard = create(
            "bi-dashboard",
            &["--environment", "development", "--level", "read-only"],
        );
        let robot = create(
            "robot-arm-7",
            &[
                "--environment",
                "staging",
                "--scopes",
                "deployment",
                "--level",
                "restricted",
                "--rule",
                "inference.run,deployment.read@deployment/*",
                "--tag",
                "hall-3",
                "--allowed-addresses",
                "127.0.0.0/8,2001:db8::/32",
                "--rate-limit",
                "100/1m",
                "--expires-in",
                "300d",
            ],
        );
        let paused = create(
            "old-ci",
            &[
                "--environment",
                "ci-cd",
                "--scopes",
                "dataset,training,deployment",
                "--level",
                "full",
            ],
        );
        let leaked = create("laptop-of-sam", &["--environment", "development"]);
        let address = snippet.address().to_owned();
        let organization = snippet.organization_id.clone();
        let visit = |value: &str, client: &str, path: &str, times: usize| {
            let headers = [
                format!("Authorization: Bearer {value}"),
                format!("Organization-Id: {organization}"),
                format!("User-Agent: {client}"),
            ];
            for _ in 0..times {
                drop(wire::get(&address, path, &headers));
            }
        };
        let datasets = format!("/workspaces/{organization}/datasets");
        visit(&deployment.1, "vi/0.1.0b7", "/v1/verify", 9);
        visit(&deployment.1, "vi/0.1.0b7", &datasets, 3);
        visit(&training.1, "vi/0.1.0b7", &datasets, 14);
        visit(&pipeline.1, "curl/8.5.0", &datasets, 5);
        visit(&dashboard.1, "python-httpx/0.28", &datasets, 21);
        visit(&robot.1, "vi/0.1.0b7", &datasets, 2);
        visit(&leaked.1, "curl/8.5.0", &datasets, 4);
        keyward.cli_json(&[
            "keys",
            "rotate",
            &training.0,
            "--mode",
            "overlap",
            "--overlap",
            "24h",
        ]);
        visit(&training.1, "vi/0.1.0b7", &datasets, 3);
        keyward.cli_json(&["keys", "pause", &paused.0]);
        keyward.cli_json(&["keys", "delete", &leaked.0, "--reason", "compromised", "--yes"]);
        visit(&leaked.1, "Mozilla/5.0 (somebody else)", &datasets, 3);
        let contact = "email:security@example.com";
        keyward.cli_json(&[
            "org",
            "edit",
            &organization,
            "--name",
            "Acme Robotics",
            "--add-contact",
            contact,
        ]);
        let token = keyward.cli_json(&[
            "tokens",
            "create",
            "--name",
            "Terraform",
            "--rights",
            "keys:read,keys:write,verify",
            "--expires-in",
            "90d",
        ]);
        let admin = keyward.cli_json(&["invitations", "create", "ana.ruiz@example.com", "--role", "admin"]);
        keyward.cli_json(&["invitations", "accept", &last_segment(&admin)]);
        let invited = keyward.cli_json(&[
            "invitations",
            "create",
            "tom.okafor@example.com",
            "--role",
            "member",
        ]);
        let linked = keyward.cli_json(&["people", "link", OWNER]);
        let members = keyward.cli_json(&["members", "list"]);
        let members = members
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let ana = members
            .iter()
            .find(|member| member.to_string().contains("ana.ruiz@example.com"));
        let sample = Self {
            keys: vec![
                ("production-deployment", deployment.0),
                ("training-automation", training.0),
                ("annotation-pipeline", pipeline.0),
                ("bi-dashboard", dashboard.0),
                ("robot-arm-7", robot.0),
                ("old-ci", paused.0),
                ("laptop-of-sam", leaked.0),
            ],
            token: text(&token, "id"),
            person: text(ana.expect("ana.ruiz@example.com is a member"), "person_id"),
            link: format!("/sign-in/link/{}", last_segment(&linked)),
            invitation: format!("/invitations/{}", last_segment(&invited)),
            keyward,
            snippet,
        };
        sample.give_ages();
        sample
    }

    /// The id of a key.
    pub fn key(&self, name: &str) -> &str {
        let found = self.keys.iter().find(|(other, _)| *other == name);
        found
            .map(|(_, id)| id.as_str())
            .unwrap_or_else(|| panic!("the sample has no key {name}"))
    }

    /// The address that people open.
    pub fn base(&self) -> String {
        format!(
            "http://localhost:{}",
            self.snippet.address().rsplit(':').next().unwrap_or_default()
        )
    }

    /// Every page of somebody who manages.
    pub fn pages(&self) -> Vec<Page> {
        let organization = &self.snippet.organization_id;
        let keys = format!("/org/{organization}/settings/secret-keys");
        let (key, rotating, leaked) = (
            format!("{keys}/{}", self.key("robot-arm-7")),
            format!("{keys}/{}", self.key("training-automation")),
            format!("{keys}/{}", self.key("laptop-of-sam")),
        );
        let of = |name, path: String| Page { name, path };
        let rest = |name, rest: &str| Page {
            name,
            path: format!("/org/{organization}{rest}"),
        };
        vec![
            rest("overview", ""),
            of("secret-keys", keys.clone()),
            of("secret-keys-none", format!("{keys}?text=nothing-is-called-so")),
            of("new-key", format!("{keys}/new")),
            of("key", key.clone()),
            of("key-rotating", rotating.clone()),
            of("key-deleted", leaked.clone()),
            of("edit-key", format!("{key}/edit")),
            of("replace-key", format!("{key}/replace")),
            of("rotate-key", format!("{key}/rotate")),
            of("pause-key", format!("{rotating}/pause")),
            of("remove-key", format!("{rotating}/remove")),
            of("key-activity", format!("{rotating}/activity")),
            of("key-activity-deleted", format!("{leaked}/activity")),
            of("explain-key", format!("{key}/explain")),
            of("compromised", format!("{rotating}/compromised")),
            of("compromised-ended", format!("{leaked}/compromised")),
            of("report", format!("{leaked}/report")),
            rest("activity", "/activity"),
            rest("audit", "/audit"),
            rest("members", "/settings/members"),
            rest("general", "/settings/general"),
            rest("security", "/settings/security"),
            rest("audit-verify", "/audit/verify"),
            rest("audit-export", "/audit/export"),
            rest("audit-erase", "/audit/erase"),
            rest("invite", "/settings/members/invite"),
            rest("role", &format!("/settings/members/{}/role", self.person)),
            rest(
                "remove-member",
                &format!("/settings/members/{}/remove", self.person),
            ),
            rest("leave", "/settings/general/leave"),
            rest("delete-organization", "/settings/general/delete"),
            rest("deliveries", "/settings/security/deliveries"),
            rest("stop", "/settings/security/stop"),
            rest("lock", "/settings/security/lock"),
            rest("remove-token", &format!("/settings/tokens/{}/remove", self.token)),
            rest("tokens", "/settings/tokens"),
            rest("new-token", "/settings/tokens/new"),
            rest("help", "/settings/help"),
            rest("help-sdk", "/settings/help/sdk"),
            rest("help-create", "/settings/help/create"),
            rest("help-remove", "/settings/help/remove"),
            rest("help-errors", "/settings/help/errors"),
            of("account", "/account".to_owned()),
            of("second-factor", "/account/second-factor".to_owned()),
            of("organizations", "/organizations".to_owned()),
            of(
                "nothing-here",
                format!("/org/{organization}/settings/secret-keys/0000000000000000"),
            ),
        ]
    }

    /// Pages that anybody can open.
    pub fn open_pages(&self) -> Vec<Page> {
        let of = |name, path: &str| Page {
            name,
            path: path.to_owned(),
        };
        vec![
            of("sign-in", "/sign-in"),
            of("sign-in-link", &self.link),
            of("invitation", &self.invitation),
            of("open-help", "/help"),
            of("open-error", "/help/errors/key_deleted"),
        ]
    }

    /// Makes some keys older than they are.
    fn give_ages(&self) {
        let file = self.keyward.installation().data_folder().join("keyward.db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(file).foreign_keys(false);
            let mut database = options.connect().await.expect("the sample's database opens");
            for (name, days) in [
                ("production-deployment", 29),
                ("training-automation", 84),
                ("annotation-pipeline", 102),
                ("bi-dashboard", 140),
                ("old-ci", 131),
            ] {
                let ms = days * DAY_MS;
                for sql in [
                    "UPDATE secret_key SET created_at = created_at - $1, rotation_due_at = rotation_due_at - $1 WHERE id = $2",
                    "UPDATE secret SET created_at = created_at - $1 WHERE key_id = $2 AND number = 1",
                ] {
                    let done = sqlx::query(sql).bind(ms).bind(self.key(name)).execute(&mut database).await;
                    done.expect("the sample's rows can be changed");
                }
            }
        });
    }
}

fn text(value: &Value, name: &str) -> String {
    let found = value.get(name).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("there is no `{name}` in {value}"))
        .to_owned()
}

/// The secret of a link, whichever field holds it.
fn last_segment(value: &Value) -> String {
    let found = ["link", "url", "secret"]
        .iter()
        .find_map(|name| value.get(name)?.as_str());
    let link = found.unwrap_or_else(|| panic!("there is no link in {value}"));
    link.rsplit('/').next().unwrap_or_default().to_owned()
}
