//! From an event and a webhook to a held message: template, cool-down, cap, outbox.

use crate::cap::{Budget, Turn, WINDOW_MS};
use crate::config::Config;
use crate::cooldown::{self, CauseDigest, Claim, LiveClaim, request_checksum};
use crate::delivery::outbox::{self, ReserveError, Share, Slot};
use crate::delivery::{self, Delivery, Email, Held, WebhookRequest, disabled};
use crate::digest::{self, Link, Tally};
use crate::event::{Event, EventKind, Meta};
use crate::handler::{Handler, Recipient, Webhook};
use crate::mail::templates::{Facts, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST, USER_SIGN_UP};
use crate::mail::{Address, Mail, Mailbox, Name};
use crate::manage::Kind;
use crate::metrics::Metric;
use crate::ports::Host;
use crate::store::StoreError;
use crate::template::Rendered;
use crate::units::UnixMillis;

/// Times that an event which is held back looks for its tally anew: each means that another VM was quicker.
const MAX_LOOKS: usize = 16;

/// What became of an event on its way to one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was told at once, or is held until it is sent.
    Taken,
    /// A message of the same cause went out less than its cool-down ago.
    Suppressed {
        /// When that ends; `None` where a digest counts what is held back.
        until: Option<UnixMillis>,
    },
    /// As many as may be went out in the last minute.
    Capped,
    /// Its target answered 410.
    Disabled,
    /// There is nobody to send it to.
    NoRecipient,
    /// It cannot be written.
    Failed,
    /// There was no room for it.
    Dropped,
}

impl Fate {
    /// Why it is not sent, in one word; `None` where it is.
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Fate::Taken => return None,
            Fate::Suppressed { .. } => "suppressed",
            Fate::Capped => "capped",
            Fate::Disabled => "disabled",
            Fate::NoRecipient => "no_recipient",
            Fate::Failed => "failed",
            Fate::Dropped => "dropped",
        })
    }
}

/// An event on its way to one webhook.
pub struct Message<'m, H> {
    /// The proxy.
    pub host: &'m H,
    /// The configuration.
    pub config: &'m Config,
    /// The handler.
    pub handler: &'m Handler,
    /// Where it goes.
    pub webhook: &'m Webhook,
    /// Of a letter: to whom.
    pub to: Option<&'m Recipient>,
    /// What happened.
    pub event: &'m Event,
    /// The time.
    pub now: UnixMillis,
}

/// What is known of a message before anything is asked of shared data.
struct Draft {
    /// What it says with what is volatile blanked.
    stable: String,
    content: Content,
}

/// A letter takes three templates, too much for what is only counted: it is written when it can go out.
enum Content {
    Webhook(Rendered),
    Letter(Mailbox),
}

/// What a webhook sends of this.
pub(crate) fn request_of(webhook: &Webhook, rendered: Rendered) -> delivery::Content {
    delivery::Content::Webhook(WebhookRequest {
        method: webhook.method.to_owned(),
        headers: webhook.headers.clone(),
        body: rendered.body,
        keys: webhook.keys.clone(),
    })
}

/// An email to this recipient.
pub(crate) fn email_of(mail: &Mail, name: &str, event: &Event, to: Mailbox) -> Result<delivery::Content, String> {
    let letter = mail.letter(name, &Facts::of_event(event), to)?;
    Ok(delivery::Content::Email(Box::new(Email { account: mail.backend.account.clone(), letter })))
}

/// What is alike for two letters of one cause: their recipient, and what they say but for volatile values. Letters say
/// less than their events, so that two of these are told apart by more: a management event's whole payload, and of a
/// threshold whose it is and which.
fn cause_of_letter(mail: &Mail, name: &str, event: &Event, to: &Mailbox) -> Result<String, String> {
    let said = match &event.management {
        Some(said) => said.stable.clone(),
        None => {
            let stable = Event { at: UnixMillis(0), id: String::new(), ..event.clone() };
            let facts = Facts::of_event(&stable);
            let meta = Meta { usage_percentage: String::new(), ..event.meta.clone() };
            let draft = mail.templates.draft(name, &Facts { meta: Some(&meta), ..facts })?;
            let Meta { org_id, key, api_id, trigger_limit, .. } = &meta;
            let threshold = if trigger_limit.is_empty() { None } else { Some([org_id, key, api_id, trigger_limit]) };
            format!("{threshold:?}\n{draft:?}")
        }
    };
    Ok(format!("{}\n{}\n{said}", event.kind.name(), to.address))
}

/// A message with everything that does not change from attempt to attempt.
pub(crate) fn delivery(
    config: &Config,
    handler: &Handler,
    webhook: &Webhook,
    event: &Event,
    content: delivery::Content,
    claim: Option<Claim>,
    now: UnixMillis,
) -> Delivery {
    Delivery {
        id: Delivery::id_of(&event.id, &handler.name),
        event: event.kind.name().to_owned(),
        handler: config.handlers.reference(handler),
        origin: config.origin(),
        claim,
        target: webhook.target.clone(),
        content,
        timeout_ms: webhook.timeout_ms.unwrap_or(config.delivery.timeout_ms),
        retries: config.delivery.retries,
        attempts: 0,
        since: now.0,
        first_attempt: 0,
        due: now.0,
        decided: now.0,
    }
}

impl<H: Host> Message<'_, H> {
    /// Hands it over, unless something holds it back. Whatever fails is logged and counted.
    ///
    /// The looks before anything is written keep a flood, most of which is held back, from taking slots and claims.
    pub fn hold(&self) -> Fate {
        let Message { host, config, webhook, now, .. } = *self;
        let group = config.group(self.event);
        let budget = webhook.cap.budget(self.event, group);
        let draft = match self.prepare() {
            Ok(Some(draft)) => draft,
            Ok(None) => return Fate::NoRecipient,
            Err(error) => return self.fail(&error),
        };
        let target = &webhook.target;
        let checksum = request_checksum(webhook.method, &target.path_and_query, &target.authority, &draft.stable);
        let cause = CauseDigest::new(&self.handler.name, group, checksum);
        let cools_down = webhook.event_timeout_ms > 0;
        if cools_down && let Ok(Some(live)) = cooldown::look(host, cause, now) {
            return self.suppressed(cause, &live);
        }
        if disabled::disabled(host).is_ok_and(|disabled| disabled.contains(config.id, target.endpoint)) {
            host.count(Metric::Disabled);
            return Fate::Disabled;
        }
        if let Ok(Turn::Capped(seen)) = budget.look(host, now) {
            return self.capped(&budget, seen);
        }
        let content = match self.write(draft) {
            Ok(content) => content,
            Err(error) => return self.fail(&error),
        };
        let slot = match outbox::reserve(host, config.table(), target.tag, self.event.share()) {
            Ok(slot) => slot,
            Err(error) => return self.drop(&error),
        };
        // The turn comes before the claim: one that is not used can be given back, whereas a claim that was released
        // could have held an event back for nothing.
        match budget.take(host, now) {
            Ok(Turn::Capped(seen)) => {
                self.free(slot);
                return self.capped(&budget, seen);
            }
            Ok(Turn::Free) => {}
            Err(error) => self.log(log::Level::Error, &format!("goes out without a cap: {error}")),
        }
        let claim = match self.claim(cause) {
            Ok(claim) => claim,
            Err(live) => {
                self.free(slot);
                if let Err(error) = budget.give_back(host, now) {
                    self.log(log::Level::Warn, &format!("keeps its place in the cap: {error}"));
                }
                return self.suppressed(cause, &live);
            }
        };
        let delivery = delivery(config, self.handler, webhook, self.event, content, claim, now);
        if let Err(error) = outbox::fill(host, slot, &Held::Message(delivery)) {
            // Where the host refuses one write, it may refuse these too; the claim then ends by itself.
            self.free(slot);
            self.release(claim);
            return self.drop(&error.into());
        }
        if let Err(error) = host.wake(&slot.0.to_le_bytes()) {
            self.log(log::Level::Debug, &format!("waits for the dispatcher's next tick: {error}"));
        }
        Fate::Taken
    }
}

impl<H> Message<'_, H> {
    /// What would be sent, if nothing held it back; `None` where there is nobody to send it to.
    pub(crate) fn preview(&self) -> Result<Option<Delivery>, String> {
        let Some(draft) = self.prepare()? else { return Ok(None) };
        let content = self.write(draft)?;
        Ok(Some(delivery(self.config, self.handler, self.webhook, self.event, content, None, self.now)))
    }

    /// `None` where there is nobody to send it to.
    fn prepare(&self) -> Result<Option<Draft>, String> {
        let Message { config, webhook, event, .. } = *self;
        let to = match self.to {
            None => {
                let rendered = config.templates.render(&webhook.template, event)?;
                let stable = rendered.stable().to_owned();
                return Ok(Some(Draft { stable, content: Content::Webhook(rendered) }));
            }
            Some(Recipient::Fixed(to)) => to.clone(),
            Some(Recipient::Developer) if event.management.is_some() => {
                match event.management.as_ref().and_then(|said| said.concerned.clone()) {
                    Some(concerned) => concerned,
                    None => return Ok(None),
                }
            }
            // What is an organisation's is no business of whoever's request was the one that crossed it.
            Some(Recipient::Developer) if event.meta.key.is_empty() => return Ok(None),
            Some(Recipient::Developer) => match event.meta.meta_data.get("email") {
                None => return Ok(None),
                Some(email) => {
                    let address =
                        Address::parse(email).map_err(|error| format!("meta_data.email of the key {error}"))?;
                    Mailbox { address, name: Name::lossy(&event.meta.alias) }
                }
            },
        };
        let stable = match self.mail()? {
            mail if webhook.event_timeout_ms > 0 => cause_of_letter(mail, self.letter_name(), event, &to)?,
            _ => String::new(),
        };
        Ok(Some(Draft { stable, content: Content::Letter(to) }))
    }

    fn write(&self, draft: Draft) -> Result<delivery::Content, String> {
        match draft.content {
            Content::Webhook(rendered) => Ok(request_of(self.webhook, rendered)),
            Content::Letter(to) => email_of(self.mail()?, self.letter_name(), self.event, to),
        }
    }

    fn mail(&self) -> Result<&Mail, String> {
        self.config.mail.as_ref().ok_or_else(|| "e-mail is not configured".to_owned())
    }

    /// The letter's name: a developer is told in other words than whoever runs the portal.
    fn letter_name(&self) -> &'static str {
        match (self.event.kind, self.to) {
            (EventKind::Management(Kind::UserRegistered), Some(Recipient::Developer)) => USER_SIGN_UP,
            (EventKind::Management(Kind::UserAccountActivated), Some(Recipient::Developer)) => USER_ACTIVATED,
            (EventKind::Management(Kind::UserAccountDeactivated), Some(Recipient::Developer)) => USER_DEACTIVATED,
            (EventKind::Management(Kind::KeyRequestEvent), Some(Recipient::Developer)) => USER_KEY_REQUEST,
            (kind, _) => kind.name(),
        }
    }
}

impl<H: Host> Message<'_, H> {
    /// Claims the cause, if the webhook cools down.
    ///
    /// # Errors
    /// The claim of another message.
    fn claim(&self, cause: CauseDigest) -> Result<Option<Claim>, LiveClaim> {
        let Message { host, webhook, now, .. } = *self;
        if webhook.event_timeout_ms == 0 {
            return Ok(None);
        }
        for _ in 0..MAX_LOOKS {
            match cooldown::claim(host, cause, webhook.event_timeout_ms, now) {
                Ok(Some(claim)) => return Ok(Some(claim)),
                // Whoever has it may release it before it is looked at.
                Ok(None) => {
                    if let Ok(Some(live)) = cooldown::look(host, cause, now) {
                        return Err(live);
                    }
                }
                Err(error) => {
                    self.log(log::Level::Error, &format!("goes out without a cool-down: {error}"));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// A message of the same cause went out less than its period ago.
    fn suppressed(&self, cause: CauseDigest, live: &LiveClaim) -> Fate {
        self.host.count(Metric::Suppressed);
        if !self.webhook.digest || live.until <= self.now {
            return Fate::Suppressed { until: Some(live.until).filter(|_| !self.webhook.digest) };
        }
        let fate = Fate::Suppressed { until: None };
        let link_of = |slot: Option<Slot>| slot.map(|slot| Link { slot, until: live.until });
        self.tally(cause, live.until, link_of(live.tally), (Share::Tally, fate), |seen, link| {
            let linked = cooldown::link(self.host, cause, live.until, seen.map(|link| link.slot), link.slot)?;
            Ok(linked.map_err(link_of))
        })
    }

    /// As many as may be went out in the last minute.
    fn capped(&self, budget: &Budget, seen: Option<Link>) -> Fate {
        self.host.count(Metric::Capped);
        self.tally_of_handler(budget, seen, Fate::Capped)
    }

    /// Counts the event in the handler's own tally for its group.
    fn tally_of_handler(&self, budget: &Budget, seen: Option<Link>, fate: Fate) -> Fate {
        // There are few of these: the configuration says how many.
        let share = if self.event.share() == Share::All { Share::All } else { Share::Management };
        let group = self.config.group(self.event);
        let cause = CauseDigest::new(&self.handler.name, group, u128::from(budget.number()).to_le_bytes());
        self.tally(cause, self.now.plus(WINDOW_MS), seen, (share, fate), |seen, link| {
            Ok(if budget.link(self.host, seen, link)? { Ok(()) } else { Err(budget.tally(self.host)?) })
        })
    }

    /// Counts the event in the tally that is linked, or in a new one, which is then linked in the place of the old. `link`
    /// returns the one that it found instead. Returns `fate`, unless there was no room for the count.
    fn tally(
        &self,
        cause: CauseDigest,
        until: UnixMillis,
        mut seen: Option<Link>,
        (share, fate): (Share, Fate),
        link: impl Fn(Option<Link>, Link) -> Result<Result<(), Option<Link>>, StoreError>,
    ) -> Fate {
        let Message { host, config, .. } = *self;
        let to = match self.to {
            None => None,
            Some(Recipient::Fixed(to)) => Some(&to.address),
            // One digest cannot be for several.
            Some(Recipient::Developer) => return fate,
        };
        let mut own = None;
        for _ in 0..MAX_LOOKS {
            match seen.map(|link| digest::count(host, link, cause, self.event)) {
                Some(Ok(true)) => {
                    // Unless it is a digest of its own by now.
                    if let Some(Link { slot, .. }) = own
                        && let Err(error) =
                            outbox::finish(host, slot, &Delivery::id_of(&self.event.id, &self.handler.name))
                    {
                        self.log(log::Level::Error, &format!("is counted twice: {error}"));
                    }
                    return fate;
                }
                Some(Err(error)) => self.log(log::Level::Error, &format!("is not counted in its digest yet: {error}")),
                Some(Ok(false)) | None => {}
            }
            let mine = match own {
                Some(mine) => mine,
                None => {
                    let tally = Tally::begin(config, self.handler, to.cloned(), cause, self.event, until);
                    match tally.hold(host, config.table(), share) {
                        Ok(mine) => *own.insert(mine),
                        Err(ReserveError::Full) if share == Share::Tally => {
                            let budget = self.webhook.cap.budget(self.event, config.group(self.event));
                            return self.tally_of_handler(&budget, budget.tally(host).ok().flatten(), fate);
                        }
                        Err(error) => return self.drop(&error),
                    }
                }
            };
            match link(seen, mine) {
                Ok(Err(found)) if found != seen => seen = found,
                // It stands: linked, or by itself, as a digest of one event.
                Ok(_) => return fate,
                Err(error) => {
                    self.log(log::Level::Error, &format!("has a digest of its own: {error}"));
                    return fate;
                }
            }
        }
        fate
    }

    fn fail(&self, error: &str) -> Fate {
        self.host.count(Metric::Failed);
        self.log(log::Level::Error, &format!("is not sent: {error}"));
        Fate::Failed
    }

    fn drop(&self, error: &ReserveError) -> Fate {
        self.host.count(Metric::Dropped);
        if *error != ReserveError::Full || self.event.share() != Share::Common {
            self.log(log::Level::Error, &format!("is dropped: {error}"));
        }
        Fate::Dropped
    }

    fn free(&self, slot: Slot) {
        if let Err(error) = outbox::free(self.host, slot) {
            log::error!("slot {} stays taken for a while: {error}", slot.0);
        }
    }

    fn release(&self, claim: Option<Claim>) {
        if let Some(Err(error)) = claim.map(|claim| cooldown::release(self.host, &claim)) {
            self.log(log::Level::Warn, &format!("did not go out, and its cool-down lasts to its end: {error}"));
        }
    }

    fn log(&self, level: log::Level, what: &str) {
        log::log!(level, "{}: {} {} {what}", self.handler.name, self.event.kind.name(), self.event.id);
    }
}
