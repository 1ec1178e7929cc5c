//! The roles of people in an organization.
//!
//! Owner and Admin manage keys, settings and people; a Member sees neither keys nor settings. What only an Owner may do
//! has to do with Owners themselves and with the organization's end.

/// A member's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Belongs to the organization, and manages nothing.
    Member,
    /// Manages keys, settings and people, except Owners.
    Admin,
    /// Manages everything; an organization always has one.
    Owner,
}

impl Role {
    /// All three, the least first.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether the role manages keys, settings and people.
    pub const fn is_manager(self) -> bool {
        matches!(self, Self::Admin | Self::Owner)
    }

    /// Whether somebody in this role may give `other` to a person, or take it away: every manager may, but Owners are an
    /// Owner's business.
    pub const fn may_change(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(other, Self::Owner),
            Self::Member => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_give_and_take_which_role() {
        let may: Vec<(&str, &str)> = Role::ALL
            .into_iter()
            .flat_map(|own| Role::ALL.map(|other| (own, other)))
            .filter(|(own, other)| own.may_change(*other))
            .map(|(own, other)| (own.name(), other.name()))
            .collect();
        let expected = [
            ("admin", "member"),
            ("admin", "admin"),
            ("owner", "member"),
            ("owner", "admin"),
            ("owner", "owner"),
        ];
        assert_eq!(may, expected);
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("Owner"), None);
    }
}
