//! The caller of a request, the checks on it, and the limits that the request counts on.

mod known_keys;

use std::borrow::Cow;

pub use known_keys::KnownKeys;

use crate::access::identity::Claimed;
use crate::access::key_location::KeyPlace;
use crate::access::pass::PassedKey;
use crate::access::quota::{ChargeLine, Home, List, PageName, rate_subject};
use crate::access::session::Org;
use crate::access::{
    About, Access, AllowanceScope, Api, Charge, CompiledUrls, Directory, Grant, IdentitySource, KeyHash, LimitScope,
    Limits, OrgIndex, Pass, Quota, Readings, Request, RequestOutcome, Session,
};
use crate::base::{UnixMillis, client_text, fingerprint};

/// The organisation's own counters on its page. Subjects of keys have other numbers.
const ORG_QUOTA_SUBJECT: u64 = 0;
const ORG_RATE_SUBJECT: u64 = 1;
const API_RATE_SUBJECT: u64 = 1;

/// The request and the parts of it that rights are checked against.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub request: &'a Request<'a>,
    /// The readings of the request's path.
    pub readings: &'a Readings<'a>,
    /// The API's version, if rights name versions.
    pub version: Option<&'a str>,
}

/// The caller of a request.
pub struct Caller<'e> {
    /// The key or the identity as sent; empty if there is none.
    name: Cow<'e, [u8]>,
    source: &'e IdentitySource,
    session: Option<&'e Session>,
    /// The default session, for an identity without its own.
    default: Option<&'e Session>,
    org: Option<&'e Org>,
    /// The hash of the key, if it was needed to find the session.
    hash: Option<KeyHash>,
    /// The organisation, if only the identity's source or a fetched session names it.
    named_org: Option<Cow<'e, str>>,
    /// See [`Claimed::is_ambiguous`].
    is_ambiguous: bool,
    /// The place of the key.
    place: Option<KeyPlace>,
}

impl<'e> Caller<'e> {
    /// Identifies the caller of a request to `api`. The request may have passed the filter before.
    pub fn identify(
        access: &'e Access,
        directory: &'e Directory,
        api: &'e Api,
        known: &mut KnownKeys,
        request: &Request<'e>,
        earlier: Option<&'e Pass>,
    ) -> Self {
        if api.use_keyless {
            return Caller::anonymous(directory.org(api.org));
        }
        let claim = |source: &'e IdentitySource| {
            let passed = || earlier.filter(|_| *source == IdentitySource::Key)?.claim(&api.key_location);
            Some((source, source.claim(request, &api.key_location).or_else(passed)?))
        };
        match api.identity.iter().find_map(claim) {
            None => Caller::anonymous(directory.org(api.org)),
            Some((source, claimed)) => Caller::known_as(access, directory, api, known, source, claimed),
        }
    }

    /// Identifies the caller by a key in the places of an API, and by nothing else.
    pub fn by_key(
        access: &'e Access,
        directory: &'e Directory,
        api: &'e Api,
        known: &mut KnownKeys,
        request: &Request<'e>,
    ) -> Self {
        match IdentitySource::Key.claim(request, &api.key_location) {
            None => Caller::anonymous(directory.org(api.org)),
            Some(claimed) => Caller::known_as(access, directory, api, known, &IdentitySource::Key, claimed),
        }
    }

    /// Restores the caller that an earlier pass identified.
    pub fn known_as(
        access: &'e Access,
        directory: &'e Directory,
        api: &'e Api,
        known: &mut KnownKeys,
        source: &'e IdentitySource,
        claimed: Claimed<'e>,
    ) -> Self {
        let Claimed { mut name, org: claimed_org, is_ambiguous, place } = claimed;
        let mut hash = None;
        let index = if is_ambiguous {
            None
        } else if *source == IdentitySource::Key {
            let (index, whole) = known.find((access, directory), api, name, &mut hash);
            name = whole;
            index
        } else {
            let text = std::str::from_utf8(&name).ok();
            text.and_then(|text| directory.find_identity(source.label(), text))
        };
        let session = index.and_then(|index| directory.session(index));
        let default = if *source == IdentitySource::Key { None } else { access.default_session.as_ref() };
        let mut caller = Caller {
            name,
            source,
            session,
            hash,
            default: default.filter(|_| session.is_none()),
            is_ambiguous,
            place,
            ..Caller::anonymous(None)
        };
        // A session's own organisation counts, whatever a claim or an API says. Otherwise a client could choose its
        // limits.
        if let Some(index) = session.and_then(|session| session.org) {
            caller.org = directory.org(Some(index));
        } else if let Some(name) = session.and_then(|session| session.org_name.as_deref()) {
            caller.named_org = Some(Cow::Borrowed(name));
        } else if let Some(claimed) = claimed_org {
            caller.org = directory.org(directory.org_index(&claimed));
            caller.named_org = Some(Cow::Owned(claimed));
        } else {
            caller.org = directory.org(api.org);
        }
        caller
    }

    /// A caller without a key or an identity.
    pub fn anonymous(org: Option<&'e Org>) -> Self {
        let name = Cow::Borrowed(&b""[..]);
        Caller {
            name,
            source: &IdentitySource::Key,
            session: None,
            default: None,
            org,
            hash: None,
            named_org: None,
            is_ambiguous: false,
            place: None,
        }
    }

    /// Runs every check except the counters. Returns what the caller may do on the API; `None` means everything.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(
        &self,
        directory: &Directory,
        api: &Api,
        asked: &Asked<'_>,
        compiled: &mut CompiledUrls,
        now: UnixMillis,
    ) -> Result<Option<Grant<'e>>, RequestOutcome> {
        let grant = if api.use_keyless { None } else { self.check_session(directory, api, now)? };
        let right = grant.and_then(|grant| grant.right);
        if let Some((right, version)) = right.zip(asked.version)
            && !right.versions.iter().any(|allowed| allowed == version)
        {
            return Err(RequestOutcome::NoAccess);
        }
        if let Some(urls) = right.and_then(|right| right.urls.as_deref()) {
            let request = asked.request;
            let paths = || asked.readings.decoded().iter().map(|reading| reading.path.as_ref());
            if !request.methods().all(|method| urls.allow(compiled, method, paths())) {
                return Err(RequestOutcome::UrlNotAllowed);
            }
        }
        if self.org.is_some_and(|org| org.is_inactive) {
            return Err(RequestOutcome::OrgInactive);
        }
        Ok(grant)
    }

    fn check_session(
        &self,
        directory: &Directory,
        api: &Api,
        now: UnixMillis,
    ) -> Result<Option<Grant<'e>>, RequestOutcome> {
        self.check_identity(directory, now)?;
        match self.session.or(self.default) {
            None => Ok(None),
            Some(session) => session.plan.grant(&api.id).map(Some).ok_or(RequestOutcome::NoAccess),
        }
    }

    /// Runs the checks on a key that do not depend on an API, and returns its session.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_key(&self, directory: &Directory, now: UnixMillis) -> Result<&'e Session, RequestOutcome> {
        self.check_identity(directory, now)?;
        if self.org.is_some_and(|org| org.is_inactive) {
            return Err(RequestOutcome::OrgInactive);
        }
        self.session.ok_or(RequestOutcome::UnknownKey)
    }

    fn check_identity(&self, directory: &Directory, now: UnixMillis) -> Result<(), RequestOutcome> {
        if self.name.is_empty() {
            return Err(RequestOutcome::MissingKey);
        }
        if self.is_ambiguous {
            return Err(RequestOutcome::UnknownKey);
        }
        if self.session.is_none() && !directory.is_complete() {
            return Err(RequestOutcome::KeysNotLoaded);
        }
        if self.session.is_none() && *self.source == IdentitySource::Key {
            return Err(RequestOutcome::UnknownKey);
        }
        if let Some(session) = self.session {
            if session.is_inactive {
                return Err(RequestOutcome::KeyInactive);
            }
            if session.expires.is_some_and(|expires| expires <= now || !now.is_of_a_clock()) {
                return Err(RequestOutcome::KeyExpired);
            }
        }
        Ok(())
    }

    /// The limits that the request counts on.
    pub fn charge<'c>(&'c self, access: &Access, api: &'c Api, grant: Option<Grant<'c>>) -> Charge<'c> {
        let mut charge = self.org_charge();
        if let Some(Grant { scope, limits, .. }) = grant {
            self.add_key(&mut charge.lines, access, scope, limits);
        }
        charge.lines.extend(line(
            LimitScope::ApiRate,
            API_RATE_SUBJECT,
            &api.rate,
            Home::Own(PageName::Kept(&api.page)),
        ));
        charge
    }

    /// The organisation's part of the charge.
    pub fn org_charge(&self) -> Charge<'_> {
        let mut charge = self.no_charge();
        if let Some(org) = self.org {
            charge.lines.extend(line(LimitScope::OrgRate, ORG_RATE_SUBJECT, &org.limits.rate, Home::Org));
            charge.lines.extend(line(LimitScope::OrgQuota, ORG_QUOTA_SUBJECT, &org.limits.quota, Home::Org));
        }
        charge
    }

    /// The caller's own part of the charge.
    pub fn key_charge<'c>(&'c self, access: &Access, scope: AllowanceScope, limits: &'c Limits) -> Charge<'c> {
        let mut charge = self.no_charge();
        self.add_key(&mut charge.lines, access, scope, limits);
        charge
    }

    fn no_charge(&self) -> Charge<'_> {
        Charge { org_page: self.org.map(|org| org.page.as_str()), ..Charge::default() }
    }

    fn add_key<'c>(
        &self,
        lines: &mut List<ChargeLine<'c>>,
        access: &Access,
        scope: AllowanceScope,
        limits: &'c Limits,
    ) {
        if limits.rate.is_none() && limits.quota.is_none() {
            return;
        }
        let subject = self.subject(scope);
        let home = self.home(access, subject);
        lines.extend(line(LimitScope::KeyRate, rate_subject(subject), &limits.rate, home));
        lines.extend(line(LimitScope::KeyQuota, subject, &limits.quota, home));
    }

    /// A charge on a session's counters, to read them without counting.
    pub fn of_session(directory: &'e Directory, session: &'e Session) -> Self {
        Caller { session: Some(session), ..Caller::anonymous(directory.org(session.org)) }
    }

    /// The number of its quota's counter.
    fn subject(&self, scope: AllowanceScope) -> u64 {
        let own = match self.session {
            Some(session) => session.hash.subject(),
            // The same name means another caller in another organisation, or from another source.
            None => fingerprint(&[
                self.source.label(),
                self.source.place(),
                self.org_id(),
                &String::from_utf8_lossy(&self.name),
            ]),
        };
        // Any number except the organisation's two.
        (own ^ scope.0).max(2)
    }

    fn home(&self, access: &Access, subject: u64) -> Home<'static> {
        let place = |pages: u32| subject.checked_rem(u64::from(pages)).unwrap_or_default();
        match self.session {
            None => Home::Own(PageName::Identities(place(access.identity_pages))),
            Some(session) if session.is_fetched => Home::Own(PageName::Fetched(place(access.fetched_pages))),
            // A key without an organisation may call the APIs of several organisations, and still has one quota.
            Some(session) if session.org.is_none() => Home::Own(PageName::Own(subject)),
            Some(_) => Home::OrgOr(PageName::Own(subject)),
        }
    }

    /// The key or identity, and its source.
    pub fn name(&self) -> (&'e IdentitySource, &[u8]) {
        (self.source, &self.name)
    }

    /// The key, if the next pass of the request would not find it: it was stripped, or it was in a query that a
    /// redirect replaces.
    pub fn key_to_pass(&self, api: &Api) -> Option<PassedKey> {
        let place = self.place.filter(|place| api.strip_authorization_data || *place == KeyPlace::Parameter)?;
        PassedKey::new(&api.key_location, place, &self.name)
    }

    /// The index of the caller's organisation.
    pub fn org_index(&self) -> Option<OrgIndex> {
        self.org.map(|org| org.index)
    }

    /// True if the caller has its own session. Clients cannot choose which callers have one.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Alias, tags and metadata of the caller's session or of the default session.
    pub fn about(&self) -> Option<&'e About> {
        self.session.or(self.default).and_then(|session| session.about.as_deref())
    }

    /// The key in the form for events: raw, or its fingerprint.
    pub fn key_text(&self, hash_keys: bool) -> String {
        if hash_keys { self.fingerprint() } else { client_text(&self.name) }
    }

    /// The key in the form for log lines; empty if there is none.
    pub fn fingerprint(&self) -> String {
        if self.name.is_empty() {
            return String::new();
        }
        let of_session = self.session.filter(|_| *self.source == IdentitySource::Key).map(|session| session.hash);
        of_session.or(self.hash).unwrap_or_else(|| KeyHash::of(&self.name)).fingerprint()
    }

    /// The organisation's id; empty if there is none.
    pub fn org_id(&self) -> &str {
        self.named_org.as_deref().or(self.org.map(|org| org.id.as_str())).unwrap_or_default()
    }
}

fn line<'c>(scope: LimitScope, subject: u64, quota: &'c Option<Quota>, home: Home<'c>) -> Option<ChargeLine<'c>> {
    quota.as_ref().map(|quota| ChargeLine { scope, subject, quota, home })
}
