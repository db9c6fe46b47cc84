//! The calls about messages, and what their replies mean.

use super::{About, Answer, Asked, Ended, Fetched, FleetOutbox, Given, GivenBody, PartVerdict, Shard, Verdict};
use crate::base::UnixMillis;
use crate::store::client::{Call, Outcome};
use crate::store::protocol::Reply;
use crate::store::scripts::Script;

/// The most messages in one call, and the bytes of their bodies after which no other is added.
const MAX_CALLS: usize = 128;
const MAX_BYTES: usize = 512 * 1024;

/// The bytes of a piece of a long message: see `fetch.lua`.
const PIECE: usize = 16 * 1024;

/// How long an answer waits for someone to take it.
const FORGET_MS: u64 = 60_000;

/// How long a disabled target is remembered.
const DISABLED_MS: &str = "86400000";

/// A part of a call about messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxCall {
    /// A question about the message or tally with this id.
    Ask(String),
    End(Ended),
    Disable(Shard, String),
    /// A part whose reply does not matter.
    Expire,
    /// The next piece of what this member was given.
    Fetch(String),
    Beat {
        shard: Shard,
        lists: bool,
        confirmed: Vec<String>,
        declined: Vec<String>,
    },
}

impl FleetOutbox {
    pub fn is_due(&self) -> bool {
        !self.ended.is_empty()
            || !self.disabled.is_empty()
            || self.asked.values().any(|asked| !asked.is_sent)
            || self.fetched.values().any(|fetched| !fetched.is_sent)
            || self.beats.values().any(|beat| beat.is_due)
    }

    /// The parts of the next call. All keys begin with `prefix`.
    pub fn calls(&mut self, prefix: &str, now: UnixMillis) -> Vec<(Call, OutboxCall)> {
        // Another VM may have ended messages about which this one asked.
        self.asked.retain(|_, asked| now.since(asked.since) < FORGET_MS);
        let base = |shard: Shard| format!("{prefix}{{o{}}}", shard.0);
        let key = |shard: Shard, kind: &str, name: &str| format!("{prefix}{{o{}}}:{kind}:{name}", shard.0);
        let member = &self.member;
        let own = |shard| [key(shard, "held", member), key(shard, "given", member)];
        let mut calls = Vec::new();
        for ended in self.ended.drain(..self.ended.len().min(MAX_CALLS)) {
            let Ended { shard, id, released } = &ended;
            let cause = released.map(|cause| hex::encode(cause.digest)).unwrap_or_default();
            let keys = own(*shard).into_iter().chain([key(*shard, "seen", id), key(*shard, "cause", &cause)]);
            let arguments = vec![id.clone(), u8::from(released.is_some()).to_string()];
            let call = Call::Script { script: Script::END, keys: keys.collect(), arguments };
            calls.push((call, OutboxCall::End(ended)));
        }
        for (shard, target) in self.disabled.drain(..) {
            let key = format!("{}:disabled", base(shard));
            let command = ["HSET", &key, &target, "1"].map(str::to_owned);
            let expire = ["PEXPIRE", &key, DISABLED_MS].map(str::to_owned);
            calls.push((Call::Command(command.into()), OutboxCall::Disable(shard, target)));
            calls.push((Call::Command(expire.into()), OutboxCall::Expire));
        }
        let mut bytes = 0_usize;
        for (id, asked) in self.asked.iter_mut().filter(|(_, asked)| !asked.is_sent).take(MAX_CALLS) {
            if bytes > MAX_BYTES {
                break;
            }
            asked.is_sent = true;
            let call = match &asked.about {
                About::Offer(offer) => {
                    bytes = bytes.saturating_add(offer.body.len());
                    let shard = offer.shard;
                    let cause = offer.cause.map(|cause| hex::encode(cause.digest)).unwrap_or_default();
                    let cap = offer.cap.map(|cap| hex::encode(cap.digest)).unwrap_or_default();
                    let others = [
                        key(shard, "seen", id),
                        key(shard, "cause", &cause),
                        key(shard, "cap", &cap),
                        format!("{}:members", base(shard)),
                    ];
                    let period_ms = offer.cause.map_or(0, |cause| cause.until.since(now));
                    let most = offer.cap.map_or(0, |cap| cap.most);
                    let is_first = u8::from(offer.is_first);
                    let numbers = [is_first.to_string(), period_ms.to_string(), most.to_string()];
                    let arguments = [id.clone(), offer.body.clone()].into_iter().chain(numbers).chain([member.clone()]);
                    let keys = own(shard).into_iter().chain(others).collect();
                    Call::Script { script: Script::EMIT, keys, arguments: arguments.collect() }
                }
                About::Part(part) => {
                    bytes = bytes.saturating_add(part.body.len());
                    let cause = hex::encode(part.cause);
                    let keys = vec![
                        key(part.shard, "tally", &cause),
                        format!("{}:due", base(part.shard)),
                        key(part.shard, "seen", id),
                    ];
                    let wait_ms = part.until.since(now).to_string();
                    let arguments = vec![id.clone(), cause, part.events.to_string(), part.body.clone(), wait_ms];
                    Call::Script { script: Script::TALLY, keys, arguments }
                }
            };
            calls.push((call, OutboxCall::Ask(id.clone())));
        }
        if let Some((id, fetched)) = self.fetched.iter_mut().find(|(_, fetched)| !fetched.is_sent) {
            fetched.is_sent = true;
            let from = fetched.text.len().saturating_add(1);
            let to = fetched.text.len().saturating_add(PIECE);
            let keys = vec![key(fetched.shard, "given", member)];
            let arguments = vec![id.clone(), from.to_string(), to.to_string()];
            calls.push((Call::Script { script: Script::FETCH, keys, arguments }, OutboxCall::Fetch(id.clone())));
        }
        for (shard, beat) in &mut self.beats {
            if !std::mem::take(&mut beat.is_due) {
                continue;
            }
            let base = base(*shard);
            let keys = ["members", "due", "disabled"].map(|name| format!("{base}:{name}"));
            let (room, lists) = (beat.room, beat.cursor.is_some());
            let cursor = beat.cursor.clone().unwrap_or_else(|| "-".to_owned());
            let (confirmed, declined) = (std::mem::take(&mut beat.confirmed), std::mem::take(&mut beat.declined));
            let numbers = [room.to_string(), cursor, confirmed.len().to_string()];
            let arguments = [base, member.clone()].into_iter().chain(numbers);
            let arguments = arguments.chain(confirmed.iter().chain(&declined).cloned()).collect();
            let call = Call::Script { script: Script::BEAT, keys: keys.into(), arguments };
            calls.push((call, OutboxCall::Beat { shard: *shard, lists, confirmed, declined }));
        }
        calls
    }

    /// Takes the outcome of a part that was sent at `sent`. Without one, the part is sent again.
    pub fn settle(&mut self, call: OutboxCall, outcome: Outcome, sent: UnixMillis) {
        match (call, outcome) {
            (OutboxCall::Ask(id), outcome) => {
                let Some(asked) = self.asked.get_mut(&id) else { return };
                match outcome {
                    Outcome::Ran(reply) => asked.answer = asked.read(&reply),
                    Outcome::NotRun | Outcome::Unknown => {}
                }
                asked.is_sent = asked.answer.is_some();
                if asked.is_sent && asked.is_over {
                    // The message went out meanwhile.
                    self.asked.remove(&id);
                } else {
                    self.has_answers |= asked.is_sent;
                }
            }
            (OutboxCall::Beat { shard, lists, .. }, Outcome::Ran(reply)) => {
                let Some(beat) = self.beats.get_mut(&shard) else { return };
                let Some(answer) = read_beat(shard, reply) else { return };
                beat.answered = sent;
                beat.members = answer.members;
                if lists {
                    beat.is_due |= answer.cursor.is_some();
                    beat.cursor = answer.cursor;
                }
                self.has_answers |= !answer.given.is_empty();
                self.given.extend(answer.given);
                for (id, length) in answer.long {
                    let fetched = Fetched { shard, length, text: String::new(), is_sent: false };
                    self.fetched.entry(id).or_insert(fetched);
                }
                self.listed.extend(answer.listed.into_iter().map(|id| (shard, id)));
                self.told_disabled.extend(answer.disabled);
            }
            (OutboxCall::Fetch(id), outcome) => self.settle_piece(id, outcome),
            (OutboxCall::End(_) | OutboxCall::Disable(..), Outcome::Ran(_)) | (OutboxCall::Expire, _) => {}
            (OutboxCall::End(ended), _) => self.ended.push(ended),
            (OutboxCall::Disable(shard, target), _) => self.disabled.push((shard, target)),
            // What is confirmed twice does no harm. The next tick calls again.
            (OutboxCall::Beat { shard, confirmed, declined, .. }, _) => {
                let beat = self.beats.entry(shard).or_default();
                beat.confirmed.extend(confirmed);
                beat.declined.extend(declined);
            }
        }
    }
}

impl FleetOutbox {
    fn settle_piece(&mut self, id: String, outcome: Outcome) {
        let Some(fetched) = self.fetched.get_mut(&id) else { return };
        fetched.is_sent = false;
        match outcome {
            Outcome::Ran(Reply::Text(piece)) if !piece.is_empty() => fetched.text.push_str(&piece),
            // Another member has got it meanwhile.
            Outcome::Ran(_) => return drop(self.fetched.remove(&id)),
            Outcome::NotRun | Outcome::Unknown => return,
        }
        if fetched.text.len() < fetched.length {
            return;
        }
        if let Some(Fetched { shard, text, .. }) = self.fetched.remove(&id)
            && let Some(body) = GivenBody::read(&text)
        {
            self.given.push(Given { shard, id, body });
            self.has_answers = true;
        }
    }
}

impl GivenBody {
    /// Reads what `beat.lua` returns as the body; `None` for a part of it.
    fn read(body: &str) -> Option<Self> {
        match body.split_at_checked(1)? {
            ("m", message) => Some(GivenBody::Message(message.to_owned())),
            ("t", tallies) => Some(GivenBody::Digest(tallies.split(' ').map(str::to_owned).collect())),
            _ => None,
        }
    }
}

impl Asked {
    fn read(&self, reply: &Reply) -> Option<Answer> {
        let &[verdict, ms] = reply.numbers()?.as_slice() else { return None };
        Some(match (&self.about, verdict) {
            (About::Offer(_), 0) => Answer::Offer(Verdict::CoolsDown(ms)),
            (About::Offer(_), 1) => Answer::Offer(Verdict::Send),
            (About::Offer(_), 2) => Answer::Offer(Verdict::Elsewhere),
            (About::Offer(_), 3) => Answer::Offer(Verdict::Capped),
            (About::Part(_), 1) => Answer::Part(PartVerdict::Counted(ms)),
            (About::Part(_), 2) => Answer::Part(PartVerdict::Reported),
            _ => return None,
        })
    }
}

struct BeatAnswer {
    members: u64,
    given: Vec<Given>,
    /// The ids and lengths of what is too long for a reply.
    long: Vec<(String, usize)>,
    cursor: Option<String>,
    listed: Vec<String>,
    disabled: Vec<String>,
}

fn read_beat(shard: Shard, reply: Reply) -> Option<BeatAnswer> {
    let Reply::List(parts) = reply else { return None };
    let [Reply::Integer(members), Reply::List(given), Reply::List(listed), Reply::List(disabled), Reply::Text(cursor)] =
        <[Reply; 5]>::try_from(parts).ok()?
    else {
        return None;
    };
    let texts = |replies: Vec<Reply>| -> Vec<String> {
        let text = |reply| if let Reply::Text(text) = reply { Some(text) } else { None };
        replies.into_iter().filter_map(text).collect()
    };
    let (mut given_now, mut long) = (Vec::new(), Vec::new());
    for pair in texts(given).chunks_exact(2) {
        let [id, text] = pair else { continue };
        if let Some(body) = GivenBody::read(text) {
            given_now.push(Given { shard, id: id.clone(), body });
        } else if let Some(length) = text.strip_prefix('p').and_then(|length| length.parse().ok()) {
            long.push((id.clone(), length));
        }
    }
    Some(BeatAnswer {
        members: u64::try_from(members).unwrap_or_default(),
        given: given_now,
        long,
        cursor: (cursor != "-").then_some(cursor),
        listed: texts(listed),
        disabled: texts(disabled),
    })
}
