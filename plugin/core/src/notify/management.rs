//! Makes an event of an occurrence in an admin API or a developer portal, and passes it to its handlers.

use crate::access::{Api, Directory};
use crate::base::UnixMillis;
use crate::event::{Event, Management, ManagementAction, Meta};
use crate::host::{Host, Metric};
use crate::notify::{MessageOutcome, Notifications, Notifier, report};
use crate::observe::Occurrence;

/// The maximum size of a management event. A larger one is not sent, because held messages use memory until they are
/// delivered.
const MAX_MANAGEMENT_BYTES: usize = 256 * 1024;

impl Notifier {
    /// Passes a management event to its handlers: those of the API on which it was observed, or of all APIs, and those
    /// of the organisation. Returns the outcome of each handler.
    pub fn notify_management(
        &mut self,
        host: &impl Host,
        (notifications, directory): (&Notifications, &Directory),
        api: &Api,
        occurrence: &Occurrence,
        now: UnixMillis,
    ) -> Vec<MessageOutcome> {
        let kind = occurrence.kind;
        host.count(kind.metric());
        let api_org = directory.org(api.org).map(|org| org.id.as_str());
        let is_known = |id: &str| directory.org_index(id).is_some();
        let org = occurrence.org_id.or(api_org, is_known).unwrap_or_default();
        let of_org = notifications.org_handlers.get(org).map(|lists| &lists[kind]);
        let handlers: Vec<_> = api.handlers(kind).iter().chain(of_org.into_iter().flatten()).collect();
        if handlers.is_empty() {
            return Vec::new();
        }
        let body = occurrence.body(now);
        if body.len() > MAX_MANAGEMENT_BYTES {
            host.count(Metric::Failed);
            log::error!("{} of {org:?}: {} bytes are more than a message may have", occurrence.name(), body.len());
            return vec![MessageOutcome::Failed; handlers.len()];
        }
        let event = Event {
            kind,
            id: self.ids.next(),
            at: now,
            meta: Meta {
                message: occurrence.name(),
                org_id: org.to_owned(),
                org: org.to_owned(),
                api_id: api.id.clone(),
                ..Meta::default()
            },
            fingerprint: String::new(),
            management: Some(Box::new(Management {
                name: occurrence.name(),
                action: occurrence.action.map_or("", ManagementAction::name),
                body,
                stable: occurrence.stable_body(),
                payload: occurrence.payload.clone(),
                concerned: occurrence.concerned.clone(),
            })),
            crossed: None,
        };
        report::notify_handlers(host, notifications, handlers, &event, api, now)
    }
}
