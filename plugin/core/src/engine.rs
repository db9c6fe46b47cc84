//! One request, one event, one delivery, read from top to bottom: a function for each callback of the host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::task::Poll;

use crate::answer::{Answer, Outcome, rate_limit_headers};
use crate::config::Config;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::{disabled, lease};
use crate::event::{EventKind, client_text};
use crate::metrics::Metric;
use crate::notify::{Notifier, Occurrence, Scene};
use crate::ports::{CalloutId, CalloutReply, Host};
use crate::quota::{Charge, Charged, Scope, Usage, charge};
use crate::request::{HeaderChange, Request};
use crate::route::Api;
use crate::session::{Directory, KeyHash, Org, Session, SessionIndex};
use crate::units::UnixMillis;

/// The period in which the host calls [`Engine::on_tick`].
pub const TICK_MS: u64 = 500;

/// tollbell for one configuration in one VM.
pub struct Engine {
    config: Config,
    notifier: Notifier,
    dispatcher: Dispatcher,
    /// Raw keys that were found, so that a known key is hashed once. Never larger than the configuration's list.
    known_keys: HashMap<Vec<u8>, SessionIndex>,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes on, changed.
    Continue {
        /// Changes to its headers.
        changes: Vec<HeaderChange>,
        /// The quota that the answer is to show.
        quota: Option<Usage>,
    },
    /// It ends here.
    Refuse(Answer),
}

impl Decision {
    const UNTOUCHED: Decision = Decision::Continue { changes: Vec::new(), quota: None };
}

impl Engine {
    /// Makes ready for requests. `now` and `salt` make event ids differ from those of other processes.
    ///
    /// This cannot fail: a VM that refused what the others took would let requests pass unchecked on its worker.
    pub fn new(config: Config, host: &impl Host, now: UnixMillis, salt: u64) -> Self {
        let vm = lease::register_vm(host).unwrap_or_else(|error| {
            log::error!("this VM has no number of its own, and takes one from the clock: {error}");
            salt
        });
        let notifier = Notifier::new(vm, now, salt);
        let dispatcher = Dispatcher::new(vm, &config);
        if let Err(error) = disabled::begin(host, config.id) {
            log::error!("targets that were disabled before may stay so: {error}");
        }
        Engine { config, notifier, dispatcher, known_keys: HashMap::new() }
    }

    /// Request headers: route, identity, session, quota, monitor, and the events of all that.
    ///
    /// Pending is for a store that answers later; shared data answers at once.
    pub fn on_request(&mut self, host: &impl Host, request: &Request<'_>, now: UnixMillis) -> Poll<Decision> {
        let Some(api) = self.config.routes.find(request) else { return Poll::Ready(Decision::UNTOUCHED) };
        let caller = Caller::identify(api, &self.config.directory, &mut self.known_keys, request);
        let verdict = caller.check(api, now).map_or_else(
            |outcome| Verdict { outcome, charged: Charged::default() },
            |()| Verdict::count(host, &caller, now),
        );
        host.count(Metric::Requests(verdict.outcome));
        let scene = Scene { api, request, caller: &caller };
        for occurrence in verdict.occurrences(api) {
            self.notifier.notify(host, &self.config, &scene, &occurrence, now);
        }
        let usage = verdict.charged.usage;
        Poll::Ready(match Answer::refuse(verdict.outcome, usage.as_ref(), now) {
            Some(answer) => Decision::Refuse(answer),
            None if api.strip_authorization_data => {
                Decision::Continue { changes: api.key_location.strip(request), quota: usage }
            }
            None => Decision::Continue { changes: Vec::new(), quota: usage },
        })
    }

    /// Response headers: what the answer says of the quota that its request was counted on.
    pub fn on_response(quota: &Usage) -> impl Iterator<Item = (&'static str, String)> {
        rate_limit_headers(quota)
    }

    /// Every [`TICK_MS`].
    pub fn on_tick(&mut self, host: &impl Host, now: UnixMillis) {
        self.dispatcher.on_tick(host, &self.config, now);
    }

    /// A message waits for the dispatching VM.
    pub fn on_wake(&mut self, host: &impl Host, now: UnixMillis) {
        self.dispatcher.on_wake(host, &self.config, now);
    }

    /// A callout ended.
    pub fn on_callout_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) {
        self.dispatcher.on_reply(host, &self.config, id, reply, now);
    }

    /// The configuration goes, or the process ends.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        self.dispatcher.on_shutdown(host);
    }
}

/// Who is calling.
pub struct Caller<'e> {
    /// The key as sent; empty for none.
    raw_key: Cow<'e, [u8]>,
    session: Option<&'e Session>,
    org: Option<&'e Org>,
}

impl<'e> Caller<'e> {
    fn identify(
        api: &Api,
        directory: &'e Directory,
        known_keys: &mut HashMap<Vec<u8>, SessionIndex>,
        request: &Request<'e>,
    ) -> Self {
        if api.use_keyless {
            return Caller { raw_key: Cow::Borrowed(b""), session: None, org: directory.org(api.org) };
        }
        let raw_key = api.key_location.find(request).unwrap_or_default();
        let index = known_keys.get(raw_key.as_ref()).copied().or_else(|| {
            let index = directory.find(&KeyHash::of(&raw_key))?;
            known_keys.insert(raw_key.to_vec(), index);
            Some(index)
        });
        let session = index.and_then(|index| directory.session(index));
        let org = directory.org(session.and_then(|session| session.org).or(api.org));
        Caller { raw_key, session, org }
    }

    /// Everything that does not count.
    fn check(&self, api: &Api, now: UnixMillis) -> Result<(), Outcome> {
        if api.use_keyless {
            return Ok(());
        }
        if self.raw_key.is_empty() {
            return Err(Outcome::MissingKey);
        }
        let Some(session) = self.session else { return Err(Outcome::UnknownKey) };
        if session.is_inactive {
            return Err(Outcome::KeyInactive);
        }
        if session.expires.is_some_and(|expires| expires <= now) {
            return Err(Outcome::KeyExpired);
        }
        if !session.may_call(&api.id) {
            return Err(Outcome::NoAccess);
        }
        Ok(())
    }

    /// The key as an event shows it: raw, or its fingerprint.
    pub fn key_text(&self, hash_keys: bool) -> String {
        if hash_keys { self.fingerprint() } else { client_text(&self.raw_key) }
    }

    /// The key as a log shows it; empty where there is none.
    pub fn fingerprint(&self) -> String {
        if self.raw_key.is_empty() {
            return String::new();
        }
        self.session.map_or_else(|| KeyHash::of(&self.raw_key), |session| session.hash).fingerprint()
    }

    /// The organisation's id; empty for none.
    pub fn org_id(&self) -> &str {
        self.org.map_or("", |org| &org.id)
    }
}

/// What became of a request, before anybody is told.
struct Verdict {
    outcome: Outcome,
    charged: Charged,
}

impl Verdict {
    fn count(host: &impl Host, caller: &Caller<'_>, now: UnixMillis) -> Self {
        let charged = charge(
            host,
            &Charge {
                org_page: caller.org.map(|org| org.page.as_str()),
                org: caller.org.and_then(|org| org.quota.as_ref()),
                is_member: caller.session.is_some_and(|session| session.org.is_some()),
                key_page: caller.session.map_or("", |session| &session.page),
                subject: caller.session.map_or(0, |session| session.hash.subject()),
                key: caller.session.and_then(|session| session.quota.as_ref()),
            },
            now,
        );
        match charged {
            Ok(charged) => {
                let outcome = match charged.refused_by {
                    None => Outcome::Admitted,
                    Some(Scope::Org) => Outcome::OrgQuotaExceeded,
                    Some(Scope::Key) => Outcome::QuotaExceeded,
                };
                Verdict { outcome, charged }
            }
            Err(error) => {
                log::error!("{} of {:?}: not counted, so refused: {error}", caller.fingerprint(), caller.org_id());
                Verdict { outcome: Outcome::CounterUnavailable, charged: Charged::default() }
            }
        }
    }

    /// Everything that somebody may want to hear of.
    fn occurrences(&self, api: &Api) -> Vec<Occurrence> {
        let refusal = |kind, message: &str| Some(Occurrence::Refusal { kind, message: message.to_owned() });
        let text = self.outcome.refusal().map_or("", |(_, text)| text);
        let refused = match self.outcome {
            Outcome::MissingKey if !api.fire_on_missing_key => None,
            Outcome::MissingKey | Outcome::UnknownKey | Outcome::NoAccess => {
                refusal(EventKind::AuthFailure, "Auth Failure")
            }
            Outcome::KeyExpired | Outcome::KeyInactive => refusal(EventKind::KeyExpired, text),
            Outcome::QuotaExceeded => refusal(EventKind::QuotaExceeded, "Key Quota Limit Exceeded"),
            Outcome::OrgQuotaExceeded => refusal(EventKind::OrgQuotaExceeded, "Organisation quota has been exceeded"),
            Outcome::Admitted | Outcome::CounterUnavailable => None,
        };
        let crossings = self.charged.crossings.iter().map(|crossing| Occurrence::Crossing(*crossing));
        crossings.chain(refused).collect()
    }
}

#[cfg(test)]
mod tests;
