//! The frame around every page of somebody who signed in: where they are, where they can go, as whom.
//!
//! A page's struct has a field `shell`, and its template extends `base.html`, which reads it. Only what the member may open is
//! offered. A page's main message (what a form just did) is one of that page's own sentences, never a text out of the address.

use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;

use crate::assets;
use crate::call::Call;
use crate::csrf::Csrf;
use crate::visit::{Person, Visit};

/// Which entry of the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    SecretKeys,
    Activity,
    Audit,
    Members,
    General,
    Security,
    Tokens,
    Help,
    Account,
    Organizations,
}

/// The frame.
pub(crate) struct Shell {
    /// The browser tab's title.
    pub(crate) title: String,
    /// Where they are.
    pub(crate) organization: Option<ShellOrganization>,
    /// The navigation.
    pub(crate) entries: Vec<Entry>,
    /// Whether the entry of settings begins a group, by position.
    pub(crate) settings: Vec<Entry>,
    /// As whom.
    pub(crate) email: String,
    pub(crate) is_account: bool,
    /// The proof for the page's forms.
    pub(crate) csrf: String,
    /// What a form just did.
    pub(crate) done: Option<&'static str>,
    pub(crate) stylesheet: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

/// The organization that a page is about.
pub(crate) struct ShellOrganization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: &'static str,
    /// What is unusual about it, to be said on every page.
    pub(crate) standing: Option<&'static str>,
}

/// One entry of the navigation.
pub(crate) struct Entry {
    pub(crate) label: &'static str,
    pub(crate) href: String,
    pub(crate) is_current: bool,
}

impl Shell {
    /// The frame of an organization's page. `sentences` are what the page says after a form: pairs of the word in the address
    /// (`?done=...`) and the sentence.
    pub(crate) fn of(
        visit: &Visit,
        call: &Call,
        section: Section,
        title: &str,
        sentences: &[(&str, &'static str)],
    ) -> Self {
        let entry = |label, to: Section, rest: &str, right| {
            visit.may(right).then(|| Entry {
                label,
                href: if rest.is_empty() {
                    format!("/org/{}", visit.organization.id)
                } else {
                    visit.url(rest)
                },
                is_current: to == section,
            })
        };
        let entries = [
            entry("Overview", Section::Overview, "", ManagementRight::KeysRead),
            entry(
                "Secret Keys",
                Section::SecretKeys,
                "settings/secret-keys",
                ManagementRight::KeysRead,
            ),
            entry(
                "Activity",
                Section::Activity,
                "activity",
                ManagementRight::KeysRead,
            ),
            entry("Audit trail", Section::Audit, "audit", ManagementRight::AuditRead),
            entry(
                "Members",
                Section::Members,
                "settings/members",
                ManagementRight::MembersRead,
            ),
        ];
        let settings = [
            entry(
                "General",
                Section::General,
                "settings/general",
                ManagementRight::OrganizationRead,
            ),
            entry(
                "Security",
                Section::Security,
                "settings/security",
                ManagementRight::OrganizationWrite,
            ),
            entry(
                "Management tokens",
                Section::Tokens,
                "settings/tokens",
                ManagementRight::TokensRead,
            ),
            entry(
                "Help",
                Section::Help,
                "settings/help",
                ManagementRight::OrganizationRead,
            ),
        ];
        Self {
            organization: Some(ShellOrganization {
                id: visit.organization.id.to_string(),
                name: visit.organization.name.clone(),
                role: role_name(visit.role),
                standing: standing_of(visit),
            }),
            entries: entries.into_iter().flatten().collect(),
            settings: settings.into_iter().flatten().collect(),
            ..Self::plain(&visit.person, call, section, title, sentences)
        }
    }

    /// The frame of a page that belongs to a person alone.
    pub(crate) fn plain(
        person: &Person,
        call: &Call,
        section: Section,
        title: &str,
        sentences: &[(&str, &'static str)],
    ) -> Self {
        let done = call.query.text("done");
        let said = sentences.iter().find(|(word, _)| Some(*word) == done);
        let entries = vec![Entry {
            label: "Organizations",
            href: "/organizations".to_owned(),
            is_current: section == Section::Organizations,
        }];
        Self {
            title: title.to_owned(),
            organization: None,
            entries,
            settings: Vec::new(),
            email: person.session.email.to_string(),
            is_account: section == Section::Account,
            csrf: person.csrf.as_str().to_owned(),
            done: said.map(|(_, sentence)| *sentence),
            stylesheet: assets::stylesheet_url(),
            script: assets::script_url(),
            icon: assets::icon_url(),
        }
    }
}

/// The frame of a page for somebody who has not signed in.
pub(crate) struct OpenShell {
    pub(crate) title: String,
    pub(crate) csrf: String,
    pub(crate) stylesheet: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

impl OpenShell {
    pub(crate) fn new(title: &str, csrf: &Csrf) -> Self {
        Self {
            title: title.to_owned(),
            csrf: csrf.as_str().to_owned(),
            stylesheet: assets::stylesheet_url(),
            script: assets::script_url(),
            icon: assets::icon_url(),
        }
    }
}

/// A role as people read it.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Admin => "Admin",
        Role::Member => "Member",
    }
}

fn standing_of(visit: &Visit) -> Option<&'static str> {
    if visit.organization.deletion.is_some() {
        return Some(
            "This organization is deleted: its keys are refused, and its data goes at the date that General names.",
        );
    }
    let state = visit.organization.state;
    if state.is_stopped() {
        Some(
            "Every key of this organization is stopped and refused, until somebody resumes them under Security.",
        )
    } else if state.is_locked() {
        Some("This organization is locked: its keys are accepted by nothing but a check, and change nothing.")
    } else {
        None
    }
}
