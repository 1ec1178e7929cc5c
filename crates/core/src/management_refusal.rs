//! Every way of saying no to whoever wants to manage: its code, its HTTP status, and the sentence that tells what would
//! help.
//!
//! The counterpart of [`crate::refusal`], which is about secret keys. What a route itself finds wrong is no refusal of
//! this kind.

use crate::key_text::Malformed;
use crate::management_right::ManagementRight;
use crate::time::Timestamp;

/// Why somebody may not manage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagementRefusal {
    /// No token came.
    TokenMissing,
    /// A secret key came in a token's place.
    SecretKeySent,
    /// What came is no token.
    TokenMalformed(Malformed),
    /// Well formed, but not one of ours.
    TokenUnknown,
    /// The token was deleted.
    TokenDeleted {
        /// Since when.
        at: Timestamp,
    },
    /// The token's time is over.
    TokenExpired {
        /// Since when.
        at: Timestamp,
    },
    /// The header that names a member was sent where it is not believed, or it can't be read.
    ActingNotAccepted(&'static str),
    /// The member that the local administrator names is none.
    ActorUnknown(&'static str),
    /// The caller is known, and lacks the right.
    RightMissing(ManagementRight),
    /// Too many requests with this token.
    TooManyRequests {
        /// When it is worth trying again.
        retry_after_seconds: u32,
    },
    /// The token could not be checked.
    CheckUnavailable,
}

/// The machine-readable name of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManagementCode {
    /// 400
    ActingNotAccepted,
    /// 401
    TokenMissing,
    /// 401
    SecretKeySent,
    /// 401
    TokenMalformed,
    /// 401
    TokenUnknown,
    /// 401
    TokenDeleted,
    /// 401
    TokenExpired,
    /// 403
    ActorUnknown,
    /// 403
    RightMissing,
    /// 429
    TooManyRequests,
    /// 503
    CheckUnavailable,
}

impl ManagementCode {
    /// Every code, in the order in which they are checked.
    pub const ALL: [Self; 11] = [
        Self::ActingNotAccepted,
        Self::TokenMissing,
        Self::SecretKeySent,
        Self::TokenMalformed,
        Self::TokenUnknown,
        Self::TokenDeleted,
        Self::TokenExpired,
        Self::ActorUnknown,
        Self::TooManyRequests,
        Self::RightMissing,
        Self::CheckUnavailable,
    ];

    /// The name in replies, logs and metrics.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// A few words for the problem document's title and the help page.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What the person who meets the refusal can do, for the help page.
    pub const fn remedy(self) -> &'static str {
        self.row().3
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::ActingNotAccepted => ("acting_not_accepted", 400, "Acting as somebody is not accepted", "The header `Keyward-Act-As` is believed on the socket in the data folder alone, where `keyward --act-as` sends it. Over the network, send a management token."),
            Self::TokenMissing => ("token_missing", 401, "No management token", "Send a management token in the header `Authorization: Bearer <token>`. An Owner or Admin makes one with `keyward tokens create`."),
            Self::SecretKeySent => ("secret_key_sent", 401, "Secret key in place of a token", "A secret key never manages anything. Send a management token, which begins with `kwmt_`."),
            Self::TokenMalformed => ("token_malformed", 401, "Incomplete management token", "The token was cut, changed or wrapped in spaces or quotes on its way. Copy it again as one line; if it is lost, make a new one."),
            Self::TokenUnknown => ("token_unknown", 401, "Unknown management token", "The token is complete but was not issued by this server. Check that the address is the server that made it."),
            Self::TokenDeleted => ("token_deleted", 401, "Deleted management token", "The token was deleted, or a restored backup ended it, and it never comes back. Make a new one."),
            Self::TokenExpired => ("token_expired", 401, "Expired management token", "The token reached the end that it was given. Make a new one."),
            Self::ActorUnknown => ("actor_unknown", 403, "No such member", "The person that the local administrator wants to act as does not belong to the organization. `keyward org show` lists its people."),
            Self::RightMissing => ("right_missing", 403, "Right missing", "The token, or the role, does not hold the right that the message names. A token's rights never change: make one that holds it."),
            Self::TooManyRequests => ("too_many_requests", 429, "Too many management requests", "Wait as long as Retry-After says. A token may make 20 requests a second, and up to 200 at once after a pause."),
            Self::CheckUnavailable => ("token_check_unavailable", 503, "Check not possible", "The server could not check the token just now. Nothing is wrong with the token; try again. If it lasts, the operator finds the cause in the log by the trace id."),
        }
    }
}

impl ManagementRefusal {
    /// The code.
    pub const fn code(&self) -> ManagementCode {
        match self {
            Self::TokenMissing => ManagementCode::TokenMissing,
            Self::SecretKeySent => ManagementCode::SecretKeySent,
            Self::TokenMalformed(_) => ManagementCode::TokenMalformed,
            Self::TokenUnknown => ManagementCode::TokenUnknown,
            Self::TokenDeleted { .. } => ManagementCode::TokenDeleted,
            Self::TokenExpired { .. } => ManagementCode::TokenExpired,
            Self::ActingNotAccepted(_) => ManagementCode::ActingNotAccepted,
            Self::ActorUnknown(_) => ManagementCode::ActorUnknown,
            Self::RightMissing(_) => ManagementCode::RightMissing,
            Self::TooManyRequests { .. } => ManagementCode::TooManyRequests,
            Self::CheckUnavailable => ManagementCode::CheckUnavailable,
        }
    }

    /// What happened and what would help, in one or two sentences. Times are left to the edge, which knows how to write
    /// them (see [`ManagementRefusal::moment`]).
    pub fn sentence(&self) -> String {
        match self {
            Self::TokenMissing => "No management token came with the request; send it in the header \
                 `Authorization: Bearer <token>`."
                .to_owned(),
            Self::SecretKeySent => "What came is a secret key, and a secret key never manages anything; send a \
                 management token, which begins with `kwmt_`."
                .to_owned(),
            Self::TokenMalformed(Malformed::Prefix { .. }) => {
                "What came is no management token: one begins with `kwmt_`, and this text does not.".to_owned()
            }
            Self::TokenMalformed(defect) => {
                format!("The management token is incomplete, or something was added to it: {defect}.")
            }
            Self::TokenUnknown => "The management token is well formed, but this server does not know it; check that \
                 the address is the server that made it."
                .to_owned(),
            Self::TokenDeleted { .. } => {
                "The management token was deleted and does not come back; make a new one".to_owned()
            }
            Self::TokenExpired { .. } => "The management token has expired; make a new one".to_owned(),
            Self::ActingNotAccepted(why) | Self::ActorUnknown(why) => (*why).to_owned(),
            Self::RightMissing(ManagementRight::Installation) => "This concerns the whole installation and needs the \
                 right `installation`, which neither a token nor a role holds; the operator does it on the machine."
                .to_owned(),
            Self::RightMissing(right) if !right.is_for_tokens() => format!(
                "This needs the right `{right}`, which no token holds; an Owner has it."
            ),
            Self::RightMissing(right) => format!("This needs the right `{right}`, which is not held here."),
            Self::TooManyRequests { retry_after_seconds } => format!(
                "Too many management requests with this token; try again in {retry_after_seconds} s."
            ),
            Self::CheckUnavailable => {
                "The management token could not be checked just now; nothing is wrong with it. Try again shortly."
                    .to_owned()
            }
        }
    }

    /// The moment that belongs to the sentence, with the word that leads to it.
    pub const fn moment(&self) -> Option<(&'static str, Timestamp)> {
        match self {
            Self::TokenDeleted { at } | Self::TokenExpired { at } => Some(("it ended at", *at)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_once_and_never_that_of_a_key_refusal() {
        let mut names: Vec<&str> = ManagementCode::ALL.iter().map(|code| code.name()).collect();
        names.extend(crate::refusal::Code::ALL.iter().map(|code| code.name()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_right_that_is_missing_is_named() {
        for right in ManagementRight::ALL {
            let sentence = ManagementRefusal::RightMissing(right).sentence();
            assert!(sentence.contains(&format!("`{right}`")), "{sentence}");
        }
    }
}
