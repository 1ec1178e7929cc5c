//! Sign-ins in the trail: who came in, and from where, without an entry for every request.
//!
//! The rule. A management token's accepted request is an entry `token.sign_in` if it is the token's first of a UTC day, or its
//! first of that day from an address, of which eight a day are told apart; the address is personal. Acting as a member over the
//! socket is an entry `person.act_as` once a day for each member. A person who signed in is told to the organizations that they belong
//! to, `person.sign_in`, by the rule of tokens; the entry of every single sign-in is in the chain of what belongs to none. What was told is remembered in memory alone: after a start
//! of the server it is told once more. Such an entry is written before the request goes on, and a sign-in that can't be told
//! is refused as one that can't be checked, which is what a database that is away does to it anyway. Everything between two
//! entries is only counted. Those that are refused are [`crate::refused_sign_ins`]'s.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyward_core::address::CallerAddress;
use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{OrganizationId, PersonId, RequestId, TokenId};
use keyward_core::record::Actor;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_store::StoreError;
use keyward_store::members::Membership;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::loads::PATIENCE;

/// Most addresses of a token that are told apart on one day.
pub const ADDRESSES_A_DAY: usize = 8;
/// Most organizations of a person that are told.
const MAX_ORGANIZATIONS: i64 = 100;
/// Most callers that are remembered. When there are more, all are forgotten, and told once more.
const MAX_REMEMBERED: usize = 10_000;

/// In which request, and from where, somebody signs in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The request.
    pub request_id: RequestId,
    /// The caller's address.
    pub address: CallerAddress,
}

/// What was told today.
#[derive(Default)]
pub(crate) struct SignIns {
    told: Mutex<HashMap<String, Told>>,
    /// Held while an entry is written, so that many first requests at once leave one.
    telling: tokio::sync::Mutex<()>,
}

/// What was told of one caller.
struct Told {
    day: i64,
    addresses: Vec<CallerAddress>,
}

/// Why a sign-in is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    FirstOfDay,
    OtherAddress,
}

impl News {
    const fn name(self) -> &'static str {
        match self {
            Self::FirstOfDay => "first_of_day",
            Self::OtherAddress => "other_address",
        }
    }
}

impl SignIns {
    /// Whether something is to be told of a sign-in at `now`.
    fn news(&self, who: &str, address: CallerAddress, now: Timestamp) -> Option<News> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get(who) {
            Some(told) if told.day == day_of(now) => {
                let is_other = !told.addresses.contains(&address) && told.addresses.len() < ADDRESSES_A_DAY;
                is_other.then_some(News::OtherAddress)
            }
            _ => Some(News::FirstOfDay),
        }
    }

    fn remember(&self, who: String, address: CallerAddress, now: Timestamp) {
        let day = day_of(now);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_REMEMBERED && !told.contains_key(&who) {
            told.clear();
        }
        let one = told.entry(who).or_insert(Told {
            day,
            addresses: Vec::new(),
        });
        if one.day != day {
            one.day = day;
            one.addresses.clear();
        }
        one.addresses.push(address);
    }
}

const fn day_of(now: Timestamp) -> i64 {
    now.as_unix_ms().div_euclid(DAY_MS)
}

/// A sign-in that may have to be told.
struct SignIn<'a> {
    organization: &'a OrganizationId,
    actor: Actor,
    action: &'static str,
    target: String,
    request_id: &'a RequestId,
    /// `None` where callers have no address.
    address: Option<CallerAddress>,
}

impl Engine {
    /// Tells of a token that was accepted, if there is something to tell.
    ///
    /// # Errors
    /// [`StoreError`]: then the token is not accepted.
    pub(crate) async fn tell_token_sign_in(
        &self,
        organization: &OrganizationId,
        id: TokenId,
        arrival: &Arrival,
    ) -> Result<(), StoreError> {
        self.tell_sign_in(SignIn {
            organization,
            actor: Actor::Token(id),
            action: "token.sign_in",
            target: format!("token/{id}"),
            request_id: &arrival.request_id,
            address: Some(arrival.address),
        })
        .await
    }

    /// Tells that somebody acts as a member, if that was not told today.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`]: then nobody acts as the member.
    pub async fn begin_acting_as(
        &self,
        context: &Context,
        membership: &Membership,
    ) -> Result<(), EngineError> {
        let told = self.tell_sign_in(SignIn {
            organization: &membership.organization_id,
            actor: context.actor.clone(),
            action: "person.act_as",
            target: format!("person/{}", membership.person_id),
            request_id: &context.request_id,
            address: None,
        });
        Ok(told.await?)
    }

    /// Tells a person's organizations that they signed in, as far as there is something to tell.
    ///
    /// # Errors
    /// [`StoreError`]: then the session is given to nobody.
    pub(crate) async fn tell_person_sign_in(
        &self,
        person: &PersonId,
        arrival: &Arrival,
    ) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let memberships = store
            .find_memberships(None, person.as_str(), MAX_ORGANIZATIONS)
            .await?;
        for membership in memberships {
            self.tell_sign_in(SignIn {
                organization: &membership.organization_id,
                actor: Actor::Person(person.clone()),
                action: "person.sign_in",
                target: format!("person/{person}"),
                request_id: &arrival.request_id,
                address: Some(arrival.address),
            })
            .await?;
        }
        Ok(())
    }

    async fn tell_sign_in(&self, sign_in: SignIn<'_>) -> Result<(), StoreError> {
        // The organization as well, because a person can be a member of several; and what they did.
        let who = format!("{}/{}/{}", sign_in.action, sign_in.organization, sign_in.target);
        let address = sign_in.address.unwrap_or(CallerAddress::Unknown);
        let sign_ins = &self.inner.sign_ins;
        if sign_ins.news(&who, address, self.now()).is_none() {
            return Ok(());
        }
        let telling = async {
            let _alone = sign_ins.telling.lock().await;
            let now = self.now();
            let Some(news) = sign_ins.news(&who, address, now) else {
                return Ok(());
            };
            self.write_sign_in(&sign_in, news, now).await?;
            sign_ins.remember(who, address, now);
            Ok(())
        };
        tokio::time::timeout(PATIENCE, telling)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }

    async fn write_sign_in(
        &self,
        sign_in: &SignIn<'_>,
        news: News,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.inner.right.is_held() {
            return Err(StoreError::NotTheWriter);
        }
        let mut detail = Detail::new().fact("why_told", news.name());
        if let Some(CallerAddress::Known(address)) = sign_in.address {
            // Without random numbers nothing is personal: better no address than one in the clear.
            detail = detail
                .clone()
                .personal("address", &address.to_string(), &mut SystemRandom)
                .unwrap_or(detail);
        }
        let event = Event {
            actor: sign_in.actor.to_string(),
            action: sign_in.action,
            target: sign_in.target.clone(),
            request_id: sign_in.request_id.to_string(),
            detail,
        };
        let mut tx = self.inner.store.begin().await?;
        tx.append_audit(sign_in.organization.as_str(), &event, now)
            .await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORNING: Timestamp = Timestamp::from_unix_ms(20_000 * DAY_MS);

    fn from(last: u8) -> CallerAddress {
        CallerAddress::Known(std::net::Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn tell(sign_ins: &SignIns, who: &str, address: CallerAddress, now: Timestamp) -> Option<News> {
        let news = sign_ins.news(who, address, now);
        if news.is_some() {
            sign_ins.remember(who.to_owned(), address, now);
        }
        news
    }

    #[test]
    fn a_caller_is_told_once_a_day_and_for_each_of_eight_addresses() {
        let sign_ins = SignIns::default();
        let evening = MORNING.plus_ms(DAY_MS - 1);
        assert_eq!(tell(&sign_ins, "a", from(1), MORNING), Some(News::FirstOfDay));
        assert_eq!(tell(&sign_ins, "a", from(1), evening), None);
        assert_eq!(tell(&sign_ins, "b", from(1), evening), Some(News::FirstOfDay));
        for last in 2..=8 {
            assert_eq!(
                tell(&sign_ins, "a", from(last), evening),
                Some(News::OtherAddress)
            );
            assert_eq!(tell(&sign_ins, "a", from(last), evening), None);
        }
        assert_eq!(tell(&sign_ins, "a", from(9), evening), None);
        let next_day = evening.plus_ms(1);
        assert_eq!(tell(&sign_ins, "a", from(9), next_day), Some(News::FirstOfDay));
        assert_eq!(tell(&sign_ins, "a", from(1), next_day), Some(News::OtherAddress));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let sign_ins = SignIns::default();
        for number in 0..=MAX_REMEMBERED {
            tell(&sign_ins, &number.to_string(), from(1), MORNING);
        }
        assert_eq!(sign_ins.told.lock().unwrap().len(), 1);
    }
}
