//! Sends a message again that failed for good.

use serde_json::json;

use super::endpoints::answer;
use crate::access::Answer;
use crate::base::UnixMillis;
use crate::delivery::{Author, Delivery, Held, ReserveError, Share, disabled, failed, outbox};
use crate::host::{Host, Metric, StoreError};
use crate::notify::Notifications;

/// Puts a kept message back into the outbox, with its id and all attempts. A resend is explicit, so neither a cool-down
/// nor a cap holds it back, and it begins none.
pub fn resend(host: &impl Host, notifications: &Notifications, id: &str, now: UnixMillis) -> Answer {
    match try_resend(host, notifications, id, now) {
        Ok(delivery) => {
            let target = &delivery.target.authority;
            answer(202, &json!({ "id": delivery.id, "handler": delivery.handler.name, "host": target }))
        }
        Err((status, error)) => answer(status, &json!({ "error": error })),
    }
}

fn try_resend(
    host: &impl Host,
    notifications: &Notifications,
    id: &str,
    now: UnixMillis,
) -> Result<Delivery, (u16, String)> {
    let broken = |error: StoreError| (503, error.to_string());
    let kept = failed::find(host, id).map_err(broken)?;
    let kept = kept.filter(|bare| bare.origin.line == notifications.placement.line);
    if outbox::all(host).any(|held| held.id() == id) {
        return Err((409, "the message is held already, and will be sent".to_owned()));
    }
    let Some(bare) = kept else {
        return Err((404, format!("no failed message is kept that has the id {id:?}")));
    };
    let handler = bare.handler.name.clone();
    // The store of a fleet is not asked: it has marked the id as ended.
    let bare = Delivery { claim: None, terms: None, since: now.0, ..bare.afresh(now) };
    let Some(delivery) = notifications.address(bare, now) else {
        return Err((410, format!("the configuration no longer has the handler {handler}")));
    };
    let target = &delivery.target;
    if disabled::disabled(host).map_err(broken)?.contains(notifications.placement.id, target.endpoint) {
        let host = &target.authority;
        return Err((409, format!("{host} answered 410 Gone: nothing is sent to it until the configuration changes")));
    }
    // Of several VMs that are asked at the same time, one gets the message.
    if !failed::take(host, id, now).map_err(broken)? {
        return Err((409, "another request sends the message again".to_owned()));
    }
    let held = Held::Message(delivery.clone());
    let slot = outbox::hold(host, notifications.table(), target.tag, Share::All, &held).map_err(|error| {
        if let Err(error) = failed::give_back(host, id, now) {
            log::warn!("{delivery}: it can be sent again in ten seconds: {error}");
        }
        let text = match error {
            ReserveError::Full => "the table of held messages has no room: try again later".to_owned(),
            ReserveError::Store(error) => error.to_string(),
        };
        (503, text)
    })?;
    host.count(Metric::Resent);
    log::info!("{delivery}: is sent again, because an administrator asked for it");
    if let Err(error) = failed::remove(host, id, now) {
        log::warn!("{delivery}: is still shown as failed: {error}");
    }
    if let Err(error) = host.wake(&slot.0.to_le_bytes()) {
        log::debug!("{delivery}: waits for the dispatcher's next tick: {error}");
    }
    Ok(delivery)
}
