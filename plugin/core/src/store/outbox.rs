//! The outbox of a fleet: what the store is asked and told about messages, for one VM.
//!
//! A message stays in the shared data of its member until it ends. Before each attempt the member asks the store,
//! which holds the message, too: if the member dies, another one gets it. The store also decides on cool-downs and caps
//! (`emit.lua`), adds the counts of digests (`tally.lua`), and gives away the messages of dead members (`beat.lua`).
//! [`calls`] makes the calls and takes their replies.

mod calls;

pub use calls::OutboxCall;

use std::collections::BTreeMap;
use std::task::Poll;

use serde::{Deserialize, Serialize};

use crate::base::{UnixMillis, fingerprint};
use crate::host::{SharedData, read};

/// How long a message waits for the store. Then it goes out: a message twice is better than none.
const PATIENCE_MS: u64 = 2000;

/// The time without a call of this member after which others may get its messages: see `beat.lua`. It is shorter here,
/// because a call takes time.
const OWNED_MS: u64 = 2000;

/// How long a member waits before it repeats attempts of messages that others may have, if it cannot ask.
const DOUBT_MS: u64 = 30_000;

/// How often a member asks for the list of its messages: a store that lost writes may hold some that have ended.
const LIST_MS: u64 = 60_000;

/// The most messages that a member takes over at once.
const MAX_GIVEN: usize = 128;

const MEMBERS_KEY: &str = "tb1/on";

/// A cause of messages, of which one goes out in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The same at all members.
    pub digest: [u8; 16],
    /// The end of its period.
    pub until: UnixMillis,
}

/// A limit of messages per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCap {
    /// The same at all members.
    pub digest: [u8; 16],
    /// At least 1.
    pub most: u32,
}

/// A part of the outbox. All that concerns one handler is in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(u64);

/// A message that asks to go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub shard: Shard,
    /// The message in the form for other members.
    pub body: String,
    /// True before the first attempt: cause and cap count only then.
    pub is_first: bool,
    pub cause: Option<Cause>,
    pub cap: Option<MessageCap>,
}

/// Whether a message may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// Another member has it, or it has ended.
    Elsewhere,
    /// Another message holds its cause, for so many milliseconds.
    CoolsDown(u64),
    /// The members together have reached its cap.
    Capped,
}

/// The events that this member counts for a digest of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub shard: Shard,
    /// What held the events back; the same at all members.
    pub cause: [u8; 16],
    /// The number of events, which only grows.
    pub events: u64,
    pub body: String,
    /// When the digest is due, if no other member has said so.
    pub until: UnixMillis,
}

/// The store's answer about a part of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartVerdict {
    /// It is in the digest that is due in so many milliseconds.
    Counted(u64),
    /// It was reported before.
    Reported,
    /// The store cannot be reached.
    Lost,
}

/// A message or a digest that the store gives to this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub shard: Shard,
    pub id: String,
    pub body: GivenBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenBody {
    Message(String),
    /// The tallies of all members.
    Digest(Vec<String>),
}

/// A message that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub shard: Shard,
    pub id: String,
    /// Its cause, if another message with it may go out.
    pub released: Option<Cause>,
}

/// The outbox of a fleet as one VM uses it.
#[derive(Debug)]
pub struct FleetOutbox {
    shards: u64,
    /// Distinguishes this VM from all others.
    born: String,
    /// The name of this VM's process among the members of the fleet; empty until it is known.
    member: String,
    is_lost: bool,
    asked: BTreeMap<String, Asked>,
    ended: Vec<Ended>,
    disabled: Vec<(Shard, String)>,
    beats: BTreeMap<Shard, Beat>,
    given: Vec<Given>,
    /// What this member was given and has read in part, by id.
    fetched: BTreeMap<String, Fetched>,
    /// Messages that the store holds for this member, as it last said.
    listed: Vec<(Shard, String)>,
    /// When the store was asked for them last.
    listed_at: UnixMillis,
    /// Disabled targets that the store told of.
    told_disabled: Vec<String>,
    has_answers: bool,
}

/// A question that the store has not answered, or whose answer nobody has taken.
#[derive(Debug)]
struct Asked {
    about: About,
    since: UnixMillis,
    is_sent: bool,
    answer: Option<Answer>,
    /// True if the message went out without an answer.
    is_over: bool,
}

#[derive(Clone, Debug)]
enum About {
    Offer(Offer),
    Part(Part),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Offer(Verdict),
    Part(PartVerdict),
}

/// A long message or digest of which the store has sent a part.
#[derive(Debug)]
struct Fetched {
    shard: Shard,
    /// Its length in bytes.
    length: usize,
    text: String,
    is_sent: bool,
}

/// What is known of one shard by the VM that leads.
#[derive(Debug, Default)]
struct Beat {
    is_due: bool,
    /// When the last call was sent that was answered.
    answered: UnixMillis,
    /// Where the list of this member's messages goes on; `None` if it is not wanted.
    cursor: Option<String>,
    /// Ids that this member confirms or declines with the next call.
    confirmed: Vec<String>,
    declined: Vec<String>,
    room: usize,
    members: u64,
}

impl FleetOutbox {
    /// `shards` is the same at all members, and at least 1. `born` distinguishes this VM from all others.
    pub fn new(shards: u64, born: String) -> Self {
        FleetOutbox {
            shards: shards.max(1),
            born,
            member: String::new(),
            is_lost: false,
            asked: BTreeMap::new(),
            ended: Vec::new(),
            disabled: Vec::new(),
            beats: BTreeMap::new(),
            given: Vec::new(),
            fetched: BTreeMap::new(),
            listed: Vec::new(),
            listed_at: UnixMillis(0),
            told_disabled: Vec::new(),
            has_answers: false,
        }
    }

    /// The shard of a handler's messages.
    pub fn shard(&self, handler: &str) -> Shard {
        Shard(fingerprint(&[handler]).checked_rem(self.shards).unwrap_or_default())
    }

    /// Says whether the store can be reached.
    pub fn set_lost(&mut self, is_lost: bool) {
        self.is_lost = is_lost;
    }

    /// Asks whether a message may go out. Pending means that the store is asked: ask again when it has answered.
    pub fn offer(&mut self, id: &str, now: UnixMillis, make: impl FnOnce(&Self) -> Offer) -> Poll<Verdict> {
        let Some(asked) = self.asked.get(id) else {
            let offer = make(self);
            if self.is_lost && self.may_send_unasked(&offer, now) {
                return Poll::Ready(Verdict::Send);
            }
            self.ask(id, About::Offer(offer), now);
            return Poll::Pending;
        };
        if let Some(Answer::Offer(verdict)) = asked.answer {
            self.asked.remove(id);
            return Poll::Ready(verdict);
        }
        let is_late = self.is_lost || now.since(asked.since) >= PATIENCE_MS;
        let unasked = is_late && matches!(&asked.about, About::Offer(offer) if self.may_send_unasked(offer, now));
        let Some(asked) = self.asked.get_mut(id) else { return Poll::Pending };
        if asked.is_over {
            // A later attempt of a message whose first question is still open.
            (asked.is_over, asked.since) = (false, now);
            return Poll::Pending;
        }
        asked.is_over = unasked;
        if unasked { Poll::Ready(Verdict::Send) } else { Poll::Pending }
    }

    /// Whether a message may go out although the store has not answered. Other members may have got messages that the
    /// store holds, but not those that it never got.
    fn may_send_unasked(&self, offer: &Offer, now: UnixMillis) -> bool {
        let answered = self.beats.get(&offer.shard).map_or(UnixMillis(0), |beat| beat.answered);
        let silent_ms = now.since(answered);
        offer.is_first || !(OWNED_MS..=DOUBT_MS).contains(&silent_ms)
    }

    /// Tells the store the number of events in a tally. Pending means that it is being told.
    pub fn count(&mut self, id: &str, now: UnixMillis, make: impl FnOnce(&Self) -> Part) -> Poll<PartVerdict> {
        let Some(asked) = self.asked.get(id) else {
            if self.is_lost {
                return Poll::Ready(PartVerdict::Lost);
            }
            let part = make(self);
            self.ask(id, About::Part(part), now);
            return Poll::Pending;
        };
        let verdict = match asked.answer {
            Some(Answer::Part(verdict)) => verdict,
            Some(Answer::Offer(_)) => PartVerdict::Lost,
            None if self.is_lost || now.since(asked.since) >= PATIENCE_MS => PartVerdict::Lost,
            None => return Poll::Pending,
        };
        self.asked.remove(id);
        Poll::Ready(verdict)
    }

    fn ask(&mut self, id: &str, about: About, now: UnixMillis) {
        let asked = Asked { about, since: now, is_sent: false, answer: None, is_over: false };
        self.asked.insert(id.to_owned(), asked);
    }

    /// A message ended, so that the store need not hold it.
    pub fn end(&mut self, ended: Ended) {
        self.asked.remove(&ended.id);
        self.ended.push(ended);
    }

    /// A target answered 410. `target` identifies its URL.
    pub fn disable(&mut self, handler: &str, target: String) {
        let shard = self.shard(handler);
        self.disabled.push((shard, target));
    }

    /// See [`FleetOutbox::new`].
    pub fn born(&self) -> &str {
        &self.born
    }

    pub fn member(&self) -> &str {
        &self.member
    }

    pub fn set_member(&mut self, member: String) {
        self.member = member;
    }

    /// This VM leads its process, which can hold `room` more messages. `begins` means that another one led before.
    pub fn lead(&mut self, begins: bool, room: usize, now: UnixMillis) {
        let begins = begins || now.since(self.listed_at) >= LIST_MS;
        if begins {
            self.listed_at = now;
        }
        let room = room.min(MAX_GIVEN).checked_div(usize::try_from(self.shards).unwrap_or(1)).unwrap_or_default();
        for shard in (0..self.shards).map(Shard) {
            let beat = self.beats.entry(shard).or_default();
            (beat.is_due, beat.room) = (true, room.max(1));
            if begins {
                beat.cursor = Some("0".to_owned());
            }
        }
    }

    /// Messages and digests that the store gives to this member. Each is to be confirmed or declined.
    pub fn take_given(&mut self) -> Vec<Given> {
        std::mem::take(&mut self.given)
    }

    /// Says whether this member keeps what it was given. Otherwise another one gets it.
    pub fn confirm(&mut self, shard: Shard, id: String, keeps: bool) {
        let beat = self.beats.entry(shard).or_default();
        if keeps { &mut beat.confirmed } else { &mut beat.declined }.push(id);
        beat.is_due = true;
    }

    /// The messages that the store holds for this member: after this VM began to lead, and once a minute.
    pub fn take_listed(&mut self) -> Vec<(Shard, String)> {
        std::mem::take(&mut self.listed)
    }

    /// The disabled targets of the fleet.
    pub fn take_disabled(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told_disabled)
    }

    /// True once after questions were answered, or messages given.
    pub fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.has_answers)
    }

    /// The number of living members, as the store last said to this VM, which leads.
    fn members(&self) -> u64 {
        self.beats.values().map(|beat| beat.members).max().unwrap_or_default()
    }

    /// Shows the number of living members to the other VMs of this process.
    pub fn show_members(&self, host: &impl SharedData) {
        if shown_members(host) != self.members() {
            // It is only for the status.
            let _ = host.put(MEMBERS_KEY, &self.members().to_le_bytes());
        }
    }
}

/// The number of living members, as the VM that leads this process shows it.
pub fn shown_members(host: &impl SharedData) -> u64 {
    let stored = read(host, MEMBERS_KEY).ok().flatten();
    stored.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
