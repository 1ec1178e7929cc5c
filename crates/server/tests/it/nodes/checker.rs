//! The judge of a history: whether the promise held, and whether anything that was acknowledged is lost.
//!
//! It is cautious in one direction only: what it reports has certainly happened. Of two acts that overlap it assumes the order that
//! excuses the node; an act without an answer may take effect at any later time, or never. A verify is compared with what was
//! certainly in force when it began.

use std::collections::BTreeMap;

use super::history::{Act, Answer, Event, Grant};

/// What is wrong, and the event that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    pub(super) event: Event,
}

/// Everything that is wrong.
pub(super) fn violations(events: &[Event]) -> Vec<Violation> {
    let mut keys: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for event in events {
        keys.entry(event.key).or_default().push(event);
    }
    let mut found = Vec::new();
    for events in keys.values() {
        let key = KeyPast::of(events);
        for event in events {
            let rule = match event.act {
                Act::Verify(secret) => key.judge(event, secret),
                Act::LastVerify(secret) => key.judge(event, secret).or_else(|| key.judge_last(event, secret)),
                _ => None,
            };
            found.extend(rule.map(|rule| Violation {
                rule,
                event: (*event).clone(),
            }));
        }
    }
    found
}

/// The writes of one key that have happened or may have.
struct KeyPast<'a> {
    writes: Vec<&'a Event>,
}

impl<'a> KeyPast<'a> {
    fn of(events: &[&'a Event]) -> Self {
        let may_have_happened = |event: &&&Event| {
            let is_write = !matches!(event.act, Act::Verify(_) | Act::LastVerify(_));
            is_write && !matches!(event.answer, Answer::Refused(_))
        };
        Self {
            writes: events.iter().filter(may_have_happened).copied().collect(),
        }
    }

    /// Whether an accept was forbidden by what was acknowledged before it began.
    fn judge(&self, verify: &Event, secret: u32) -> Option<&'static str> {
        let Answer::Accepted(seen) = verify.answer else {
            return None;
        };
        if self.is_certainly_deleted(verify) {
            return Some("accepted after its deletion was acknowledged");
        }
        if !self.states(verify).contains(&true) {
            return Some("accepted after its pause was acknowledged");
        }
        if !self.grants(verify).iter().any(|grant| seen.is_within(*grant)) {
            return Some("accepted with more than an acknowledged edit left");
        }
        self.is_certainly_rotated_out(verify, secret)
            .then_some("accepted with a secret that an acknowledged rotation ended")
    }

    /// Whether the final state is one that the acknowledged writes can have led to.
    fn judge_last(&self, verify: &Event, secret: u32) -> Option<&'static str> {
        let may_be_deleted = self.writes.iter().any(|write| write.act == Act::Delete);
        if let Answer::Refused(code) = &verify.answer
            && code == "key_deleted"
        {
            return (!may_be_deleted).then_some("deleted, and nobody deleted it");
        }
        if self.is_certainly_deleted(verify) {
            return Some("an acknowledged deletion is lost");
        }
        match &verify.answer {
            Answer::Accepted(seen) => {
                let fits = self.grants(verify).contains(seen);
                (!fits).then_some("an acknowledged edit is lost")
            }
            Answer::Refused(code) => match code.as_str() {
                "key_paused" if self.states(verify).contains(&false) => None,
                "key_paused" => Some("an acknowledged resume is lost, or nobody paused it"),
                "key_superseded" if self.may_be_rotated_out(secret) => None,
                "key_superseded" => Some("the secret has ended, and no rotation ended it"),
                "key_unknown" => Some("an acknowledged creation or rotation is lost"),
                _ => Some("refused for no reason of its own after everything has healed"),
            },
            Answer::Unknown | Answer::Done => Some("not answered after everything has healed"),
        }
    }

    fn is_certainly_deleted(&self, verify: &Event) -> bool {
        self.writes
            .iter()
            .any(|write| write.act == Act::Delete && is_done_before(write, verify))
    }

    /// Whether it may have been active, and whether it may have been paused: `true` and `false`.
    fn states(&self, verify: &Event) -> Vec<bool> {
        self.last_of(verify, |act| match act {
            Act::Create | Act::Resume => Some(true),
            Act::Pause => Some(false),
            _ => None,
        })
    }

    fn grants(&self, verify: &Event) -> Vec<Grant> {
        self.last_of(verify, |act| match act {
            Act::Create => Some(Grant::ALL),
            Act::Edit(grant) => Some(grant),
            _ => None,
        })
    }

    /// What the last write of a kind before a verify may have written.
    fn last_of<T>(&self, verify: &Event, written: impl Fn(Act) -> Option<T>) -> Vec<T> {
        let of_kind: Vec<&Event> = self
            .writes
            .iter()
            .filter(|write| written(write.act).is_some())
            .copied()
            .collect();
        let may_be_last = |write: &&&Event| {
            let is_written_over = of_kind
                .iter()
                .any(|later| is_done_before(write, later) && is_done_before(later, verify));
            write.begun_us < verify.ended_us && !is_written_over
        };
        let last = of_kind.iter().filter(may_be_last);
        last.filter_map(|write| written(write.act)).collect()
    }

    /// The write that made a secret. Number 1 came with the key.
    fn maker(&self, secret: u32) -> Option<&'a Event> {
        let made = |write: &&&Event| match write.act {
            Act::Create => secret == 1,
            Act::Rotate(number) => number == secret,
            _ => false,
        };
        self.writes.iter().find(made).copied()
    }

    fn is_certainly_rotated_out(&self, verify: &Event, secret: u32) -> bool {
        let Some(maker) = self.maker(secret) else {
            return false;
        };
        self.writes.iter().any(|write| {
            matches!(write.act, Act::Rotate(_))
                && is_done_before(maker, write)
                && is_done_before(write, verify)
        })
    }

    fn may_be_rotated_out(&self, secret: u32) -> bool {
        let Some(maker) = self.maker(secret) else {
            return true;
        };
        self.writes.iter().any(|write| {
            matches!(write.act, Act::Rotate(number) if number != secret) && !is_done_before(write, maker)
        })
    }
}

/// Whether an act was answered before another began. What was never answered is before nothing.
fn is_done_before(first: &Event, second: &Event) -> bool {
    first.answer != Answer::Unknown && first.ended_us < second.begun_us
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Grant = Grant {
        scopes: 1,
        is_full: false,
    };

    /// Each act begins at ten times its place and ends four later, unless moved.
    fn history(acts: &[(Act, Answer)]) -> Vec<Event> {
        let event = |(place, (act, answer)): (u64, &(Act, Answer))| Event {
            begun_us: place * 10,
            ended_us: place * 10 + 4,
            node: 0,
            key: 0,
            act: *act,
            answer: answer.clone(),
        };
        (0..).zip(acts).map(event).collect()
    }

    fn rules(acts: &[(Act, Answer)]) -> Vec<&'static str> {
        violations(&history(acts))
            .iter()
            .map(|found| found.rule)
            .collect()
    }

    fn refused(code: &str) -> Answer {
        Answer::Refused(code.to_owned())
    }

    use Act::{Create, Delete, Edit, LastVerify, Pause, Resume, Rotate, Verify};
    use Answer::{Accepted, Done, Unknown};

    const MADE: (Act, Answer) = (Create, Done);
    const SEEN: (Act, Answer) = (Verify(1), Accepted(Grant::ALL));
    const LAST_SEEN: (Act, Answer) = (LastVerify(1), Accepted(Grant::ALL));

    #[test]
    fn an_accept_after_each_kind_of_end_is_found() {
        for (write, word) in [
            (Delete, "deletion"),
            (Pause, "pause"),
            (Edit(READ), "edit"),
            (Rotate(2), "rotation"),
        ] {
            assert_eq!(rules(&[MADE, SEEN, (write, Done)]), Vec::<&str>::new());
            let found = rules(&[MADE, (write, Done), SEEN]);
            assert!(
                found.len() == 1 && found[0].contains(word),
                "{write:?}: {found:?}"
            );
            assert!(rules(&[MADE, (write, Unknown), SEEN]).is_empty(), "{write:?}");
            assert!(
                rules(&[MADE, (write, refused("x")), SEEN]).is_empty(),
                "{write:?}"
            );
        }
    }

    #[test]
    fn a_verify_that_began_before_the_answer_may_be_accepted() {
        let mut events = history(&[MADE, (Delete, Done), SEEN]);
        events[2].begun_us = events[1].ended_us;
        assert!(violations(&events).is_empty());
        events[2].begun_us += 1;
        assert_eq!(violations(&events).len(), 1);
    }

    #[test]
    fn what_may_have_been_allowed_again_is_no_violation() {
        for answer in [Done, Unknown] {
            let acts = [MADE, (Pause, Done), (Resume, answer.clone()), SEEN];
            assert!(rules(&acts).is_empty());
            let acts = [MADE, (Edit(READ), Done), (Edit(Grant::ALL), answer), SEEN];
            assert!(rules(&acts).is_empty());
        }
        let acts = [MADE, (Resume, Done), (Pause, Done), SEEN];
        assert_eq!(rules(&acts).len(), 1, "the resume was before");
        let acts = [MADE, (Delete, Done), (Resume, Unknown), SEEN];
        assert_eq!(rules(&acts).len(), 1, "nothing takes a deletion back");
        // A lost resume can still take effect after a later pause.
        assert!(rules(&[MADE, (Resume, Unknown), (Pause, Done), SEEN]).is_empty());
    }

    #[test]
    fn less_than_what_is_allowed_is_allowed_and_the_new_secret_is() {
        let read = (Verify(1), Accepted(READ));
        assert!(rules(&[MADE, read.clone()]).is_empty());
        assert!(rules(&[MADE, (Edit(READ), Done), read]).is_empty());
        let new = (Verify(2), Accepted(Grant::ALL));
        assert!(rules(&[MADE, (Rotate(2), Done), new.clone()]).is_empty());
        assert_eq!(rules(&[MADE, (Rotate(2), Done), (Rotate(3), Done), new]).len(), 1);
    }

    #[test]
    fn a_lost_write_is_found_at_the_end() {
        let last = |code: &str| (LastVerify(1), refused(code));
        for (acts, word) in [
            (vec![MADE, last("key_unknown")], "creation"),
            (vec![MADE, (Delete, Done), last("key_paused")], "deletion is lost"),
            (vec![MADE, (Delete, Done), LAST_SEEN], "deletion"),
            (vec![MADE, last("key_deleted")], "nobody deleted"),
            (
                vec![MADE, (Pause, Done), (Resume, Done), last("key_paused")],
                "resume",
            ),
            (vec![MADE, (Pause, Done), LAST_SEEN], "pause"),
            (
                vec![MADE, (Edit(Grant::ALL), Done), (LastVerify(1), Accepted(READ))],
                "edit is lost",
            ),
            (vec![MADE, last("key_superseded")], "no rotation"),
            (vec![MADE, last("store_unavailable")], "healed"),
            (vec![MADE, (LastVerify(1), Unknown)], "not answered"),
        ] {
            let found = rules(&acts);
            assert!(found.len() == 1 && found[0].contains(word), "{word}: {found:?}");
        }
    }

    #[test]
    fn an_end_that_fits_is_no_violation() {
        let last = |code: &str| (LastVerify(1), refused(code));
        for acts in [
            vec![MADE, LAST_SEEN],
            vec![MADE, (Delete, Unknown), LAST_SEEN],
            vec![MADE, (Delete, Unknown), last("key_deleted")],
            vec![MADE, (Delete, Unknown), (Delete, Done), last("key_deleted")],
            vec![MADE, (Pause, Unknown), last("key_paused")],
            vec![MADE, (Rotate(2), Unknown), last("key_superseded")],
            vec![MADE, (Edit(READ), Done), (LastVerify(1), Accepted(READ))],
        ] {
            assert_eq!(rules(&acts), Vec::<&str>::new(), "{acts:?}");
        }
    }
}
