//! The rights of the management API: what a route asks for, and what a role or a management token holds.
//!
//! Not to be mixed up with the operations of the resource API ([`crate::operation`]), which are a secret key's: no secret
//! key holds any of these. Who is asked for which right stands at the routes; who a caller is, is found out there too.

use std::fmt;

use crate::role::Role;

/// A right in one organization, or, for the last one, on the whole installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ManagementRight {
    /// See the organization and its settings.
    OrganizationRead,
    /// Change its name and settings.
    OrganizationWrite,
    /// See secret keys; never a value.
    KeysRead,
    /// Create, change and end secret keys.
    KeysWrite,
    /// See the people.
    MembersRead,
    /// Invite and remove people, change roles.
    MembersWrite,
    /// See management tokens; never a value.
    TokensRead,
    /// Create and end management tokens.
    TokensWrite,
    /// Read the audit trail.
    AuditRead,
    /// Ask whether somebody's key may do something, as a server does whose callers hold keys.
    Verify,
    /// End the organization: an Owner's alone.
    OrganizationDelete,
    /// Erase personal values from the audit trail: an Owner's alone.
    AuditErase,
    /// What concerns no single organization: the local administrator's alone.
    Installation,
}

impl ManagementRight {
    /// Every right, in the order in which they are shown.
    pub const ALL: [Self; 13] = [
        Self::OrganizationRead,
        Self::OrganizationWrite,
        Self::KeysRead,
        Self::KeysWrite,
        Self::MembersRead,
        Self::MembersWrite,
        Self::TokensRead,
        Self::TokensWrite,
        Self::AuditRead,
        Self::Verify,
        Self::OrganizationDelete,
        Self::AuditErase,
        Self::Installation,
    ];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganizationRead => "organization:read",
            Self::OrganizationWrite => "organization:write",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::MembersRead => "members:read",
            Self::MembersWrite => "members:write",
            Self::TokensRead => "tokens:read",
            Self::TokensWrite => "tokens:write",
            Self::AuditRead => "audit:read",
            Self::Verify => "verify",
            Self::OrganizationDelete => "organization:delete",
            Self::AuditErase => "audit:erase",
            Self::Installation => "installation",
        }
    }

    /// The right of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }

    /// Whether a management token can hold it.
    pub const fn is_for_tokens(self) -> bool {
        !matches!(
            self,
            Self::OrganizationDelete | Self::AuditErase | Self::Installation
        )
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for ManagementRight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of rights. The empty one allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RightSet(u16);

impl RightSet {
    /// No right.
    pub const NONE: Self = Self(0);

    /// Every right that a management token can hold.
    pub fn all_of_tokens() -> Self {
        ManagementRight::ALL
            .into_iter()
            .filter(|right| right.is_for_tokens())
            .collect()
    }

    /// Every right there is: the local administrator's.
    pub fn all() -> Self {
        ManagementRight::ALL.into_iter().collect()
    }

    /// What a member in this role holds in their organization.
    pub fn of_role(role: Role) -> Self {
        match role {
            Role::Member => Self::NONE.with(ManagementRight::OrganizationRead),
            Role::Admin => Self::all_of_tokens(),
            Role::Owner => Self::all_of_tokens()
                .with(ManagementRight::OrganizationDelete)
                .with(ManagementRight::AuditErase),
        }
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, right: ManagementRight) -> Self {
        Self(self.0 | right.bit())
    }

    /// Whether the right is here.
    pub const fn contains(self, right: ManagementRight) -> bool {
        self.0 & right.bit() != 0
    }

    /// These without those that are also there.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rights in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = ManagementRight> {
        ManagementRight::ALL
            .into_iter()
            .filter(move |right| self.contains(*right))
    }

    /// The names, separated by commas: the form in the database, in seals and in the trail.
    pub fn to_text(self) -> String {
        self.iter()
            .map(ManagementRight::name)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Reads what [`RightSet::to_text`] wrote; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let rights: Option<Self> = text
            .split(',')
            .filter(|name| !name.is_empty())
            .map(ManagementRight::from_name)
            .collect();
        rights.filter(|rights| rights.to_text() == text)
    }
}

impl FromIterator<ManagementRight> for RightSet {
    fn from_iter<T: IntoIterator<Item = ManagementRight>>(rights: T) -> Self {
        rights.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_holds_what_the_one_below_holds_and_nobody_the_installation() {
        let [member, admin, owner] = Role::ALL.map(RightSet::of_role);
        assert_eq!(member.to_text(), "organization:read");
        assert_eq!(admin, RightSet::all_of_tokens());
        assert_eq!(owner.without(admin).to_text(), "organization:delete,audit:erase");
        assert!(member.without(admin).is_empty() && admin.without(owner).is_empty());
        assert_eq!(RightSet::all().without(owner).to_text(), "installation");
    }

    #[test]
    fn a_set_reads_back_in_its_one_form_and_in_no_other() {
        for rights in [
            RightSet::NONE,
            RightSet::all(),
            RightSet::NONE
                .with(ManagementRight::Verify)
                .with(ManagementRight::KeysRead),
        ] {
            assert_eq!(RightSet::from_text(&rights.to_text()), Some(rights));
        }
        for bad in [
            "keys",
            "verify,keys:read",
            "keys:read,keys:read",
            "keys:read,",
            ",",
            "*",
        ] {
            assert_eq!(RightSet::from_text(bad), None, "{bad}");
        }
    }
}
