//! Who sent a request, whether it may pass, and what it is to be counted on.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::answer::Outcome;
use crate::config::Config;
use crate::event::client_text;
use crate::identity::{Claimed, Source};
use crate::quota::{Charge, Home, Kind, Line, PageName, Quota, Scope};
use crate::request::Request;
use crate::route::Api;
use crate::session::{AllowanceScope, KeyHash, Limits, Org, Plan, Session, SessionIndex};
use crate::units::{UnixMillis, fingerprint};

/// Sessions of raw keys that were found before, so that a known key is hashed once. Never larger than the list of
/// sessions; to be emptied when that changes.
pub type KnownKeys = HashMap<Vec<u8>, SessionIndex>;

/// The organisation's own counters on its page. Key subjects are neither.
const ORG_QUOTA_SUBJECT: u64 = 0;
const ORG_RATE_SUBJECT: u64 = 1;
const API_RATE_SUBJECT: u64 = 1;

/// Who is calling.
pub struct Caller<'e> {
    /// The key or the identity as sent; empty for none.
    name: Cow<'e, [u8]>,
    source: &'static str,
    session: Option<&'e Session>,
    /// What it may do: its session's plan, or for an identity without one the default.
    plan: Option<&'e Plan>,
    org: Option<&'e Org>,
    /// An organisation that only the identity's source knows.
    claimed_org: Option<String>,
}

impl<'e> Caller<'e> {
    /// The caller of a request to `api`.
    pub fn identify(config: &'e Config, api: &'e Api, known: &mut KnownKeys, request: &Request<'e>) -> Self {
        if api.use_keyless {
            return Caller::unknown(config, api, Cow::Borrowed(b""), "key");
        }
        let claim = |source: &Source| Some((source.label(), source.claim(request, &api.key_location)?));
        match api.identity.iter().find_map(claim) {
            None => Caller::unknown(config, api, Cow::Borrowed(b""), "key"),
            Some((source, claimed)) => Caller::known_as(config, api, known, source, claimed),
        }
    }

    /// The caller who was identified before.
    pub fn known_as(
        config: &'e Config,
        api: &'e Api,
        known: &mut KnownKeys,
        source: &'static str,
        claimed: Claimed<'e>,
    ) -> Self {
        let Claimed { name, org } = claimed;
        if source == Source::Key.label() {
            let index = known.get(name.as_ref()).copied().or_else(|| {
                let index = config.directory.find(&KeyHash::of(&name))?;
                known.insert(name.to_vec(), index);
                Some(index)
            });
            let session = index.and_then(|index| config.directory.session(index));
            return Caller {
                session,
                plan: session.map(|session| &*session.plan),
                ..Caller::unknown(config, api, name, source)
            }
            .with_org_of_session(config, api);
        }
        let index = std::str::from_utf8(&name).ok().and_then(|name| config.directory.find_identity(source, name));
        let session = index.and_then(|index| config.directory.session(index));
        let plan = session.map(|session| &*session.plan).or(config.default_plan.as_deref());
        let claimed_index = org.as_deref().and_then(|org| config.directory.org_index(org));
        let caller = Caller { session, plan, ..Caller::unknown(config, api, name, source) };
        let mut caller = caller.with_org_of_session(config, api);
        if let Some(org) = org {
            // What the source says of this request is newer than what the configuration says of the session.
            caller.org = config.directory.org(claimed_index);
            caller.claimed_org = Some(org);
        }
        caller
    }

    fn unknown(config: &'e Config, api: &Api, name: Cow<'e, [u8]>, source: &'static str) -> Self {
        let org = config.directory.org(api.org);
        Caller { name, source, session: None, plan: None, org, claimed_org: None }
    }

    fn with_org_of_session(mut self, config: &'e Config, api: &Api) -> Self {
        self.org = config.directory.org(self.session.and_then(|session| session.org).or(api.org));
        self
    }

    /// Everything that does not count. Returns the limits that apply.
    ///
    /// # Errors
    /// As what the request is refused.
    pub fn check(
        &self,
        config: &Config,
        api: &Api,
        now: UnixMillis,
    ) -> Result<Option<(AllowanceScope, &'e Limits)>, Outcome> {
        let limits = if api.use_keyless { None } else { self.check_session(config, api, now)? };
        if self.org.is_some_and(|org| org.is_inactive) {
            return Err(Outcome::OrgInactive);
        }
        Ok(limits)
    }

    fn check_session(
        &self,
        config: &Config,
        api: &Api,
        now: UnixMillis,
    ) -> Result<Option<(AllowanceScope, &'e Limits)>, Outcome> {
        if self.name.is_empty() {
            return Err(Outcome::MissingKey);
        }
        if self.is_key() && self.session.is_none() {
            return Err(if config.keys_are_loaded { Outcome::UnknownKey } else { Outcome::KeysNotLoaded });
        }
        if let Some(session) = self.session {
            if session.is_inactive {
                return Err(Outcome::KeyInactive);
            }
            if session.expires.is_some_and(|expires| expires <= now) {
                return Err(Outcome::KeyExpired);
            }
        }
        match self.plan {
            None => Ok(None),
            Some(plan) => plan.limits(&api.id).map(Some).ok_or(Outcome::NoAccess),
        }
    }

    /// What the request is to be counted on.
    pub fn charge<'c>(
        &'c self,
        config: &Config,
        api: &'c Api,
        limits: Option<(AllowanceScope, &'c Limits)>,
    ) -> Charge<'c> {
        let mut charge = self.org_charge();
        if let Some((scope, limits)) = limits {
            charge.lines.extend(self.key_charge(config, scope, limits).lines);
        }
        let page = PageName { key: Cow::Borrowed(&api.page), kind: Kind::Kept };
        charge.lines.extend(line(Scope::ApiRate, API_RATE_SUBJECT, &api.rate, Home::Own(page)));
        charge
    }

    /// The part of its organisation.
    pub fn org_charge(&self) -> Charge<'_> {
        let mut charge = Charge { org_page: self.org.map(|org| org.page.as_str()), lines: Vec::new() };
        if let Some(org) = self.org {
            charge.lines.extend(line(Scope::OrgRate, ORG_RATE_SUBJECT, &org.limits.rate, Home::Org));
            charge.lines.extend(line(Scope::OrgQuota, ORG_QUOTA_SUBJECT, &org.limits.quota, Home::Org));
        }
        charge
    }

    /// Its own part.
    pub fn key_charge<'c>(&'c self, config: &Config, scope: AllowanceScope, limits: &'c Limits) -> Charge<'c> {
        let mut charge = Charge { org_page: self.org.map(|org| org.page.as_str()), lines: Vec::new() };
        if limits.rate.is_some() || limits.quota.is_some() {
            let subject = self.subject(scope);
            let home = self.home(config, subject);
            charge.lines.extend(line(Scope::KeyRate, rate_subject(subject), &limits.rate, home.clone()));
            charge.lines.extend(line(Scope::KeyQuota, subject, &limits.quota, home));
        }
        charge
    }

    /// For a look at an organisation's counters.
    pub fn of_org(org: &'e Org) -> Self {
        Caller {
            name: Cow::Borrowed(b""),
            source: Source::Key.label(),
            session: None,
            plan: None,
            org: Some(org),
            claimed_org: None,
        }
    }

    /// For a look at a session's counters.
    pub fn of_session(config: &'e Config, session: &'e Session) -> Self {
        let org = config.directory.org(session.org);
        let (name, source) = (Cow::Borrowed(&b""[..]), Source::Key.label());
        Caller { name, source, session: Some(session), plan: Some(&session.plan), org, claimed_org: None }
    }

    /// Nobody in particular, at one of the filter's own paths.
    pub fn nobody() -> Self {
        let (name, source) = (Cow::Borrowed(&b""[..]), Source::Key.label());
        Caller { name, source, session: None, plan: None, org: None, claimed_org: None }
    }

    /// The number of its quota's counter.
    fn subject(&self, scope: AllowanceScope) -> u64 {
        let own = match self.session {
            Some(session) => session.hash.subject(),
            None => fingerprint(&[self.source, &String::from_utf8_lossy(&self.name)]),
        };
        // Neither of the organisation's.
        (own ^ scope.0).max(2)
    }

    fn home(&self, config: &Config, subject: u64) -> Home<'static> {
        let Some(session) = self.session else {
            let page = subject.checked_rem(u64::from(config.identity_pages)).unwrap_or_default();
            return Home::Own(PageName { key: Cow::Owned(format!("tb1/i/{page}")), kind: Kind::Table });
        };
        let page = PageName { key: Cow::Owned(format!("tb1/k/{subject:x}")), kind: Kind::Kept };
        // A member's is never another organisation's page.
        if session.org.is_some() && self.claimed_org.is_none() { Home::OrgOr(page) } else { Home::Own(page) }
    }

    fn is_key(&self) -> bool {
        self.source == Source::Key.label()
    }

    /// The key or identity, and where it came from.
    pub fn name(&self) -> (&'static str, &[u8]) {
        (self.source, &self.name)
    }

    /// The organisation that its source names; empty for none.
    pub fn claimed_org(&self) -> &str {
        self.claimed_org.as_deref().unwrap_or_default()
    }

    /// Its session, where it has one.
    pub fn session(&self) -> Option<&'e Session> {
        self.session
    }

    /// The key as an event shows it: raw, or its fingerprint.
    pub fn key_text(&self, hash_keys: bool) -> String {
        if hash_keys { self.fingerprint() } else { client_text(&self.name) }
    }

    /// The key as a log shows it; empty where there is none.
    pub fn fingerprint(&self) -> String {
        if self.name.is_empty() {
            return String::new();
        }
        let hash = self.session.filter(|_| self.is_key()).map(|session| session.hash);
        hash.unwrap_or_else(|| KeyHash::of(&self.name)).fingerprint()
    }

    /// The organisation's id; empty for none.
    pub fn org_id(&self) -> &str {
        self.claimed_org.as_deref().or(self.org.map(|org| org.id.as_str())).unwrap_or_default()
    }
}

fn line<'c>(scope: Scope, subject: u64, quota: &'c Option<Quota>, home: Home<'c>) -> Option<Line<'c>> {
    quota.as_ref().map(|quota| Line { scope, subject, quota, home })
}

/// The number of the rate's counter beside a quota's.
fn rate_subject(subject: u64) -> u64 {
    (subject ^ 0x9e37_79b9_7f4a_7c15).max(2)
}
