//! What all receivers show of an event.

use serde_json::Value;

use super::cause::{dedup_key, is_about_several};
use super::facts::{Fact, details, name_of_subject, of_event};
use super::kinds::{self, Severity};
use super::markup::visible;
use crate::base::json;
use crate::event::{Event, Meta};

/// The most crossed thresholds that a message for people lists.
const MOST_CROSSINGS: usize = 10;

/// The most facts of a message for people. Discord takes 25.
const MOST_FACTS: usize = 16;

/// The facts of a row. Slack takes 10.
const FACTS_PER_ROW: usize = 10;

/// An event in the form for receivers.
pub(super) struct Alert<'e> {
    pub(super) event: &'e Event,
    /// The name of the gateway, for receivers that show it.
    pub(super) source: &'e str,
    /// Names and URLs.
    pub(super) links: Vec<(&'e str, String)>,
}

impl Alert<'_> {
    /// The data of a message for people, without a key.
    pub(super) fn view_for_people(&self) -> Value {
        let Event { kind, meta, management, .. } = self.event;
        let (severity, _) = kinds::of(*kind);
        let resolves = kinds::resolves(*kind, &meta.circuit_event);
        let severity = match (resolves, meta.would_refuse) {
            (true, _) => Severity::Info,
            (_, true) => severity.min(Severity::Warning),
            _ => severity,
        };
        let fact = |fact: &Fact| {
            json::object(&mut [("Label", fact.label.as_str().into()), ("Value", fact.value.as_str().into())])
        };
        let facts: Vec<Value> = of_event(self.event).iter().take(MOST_FACTS).map(fact).collect();
        let link =
            |(name, url): &(&str, String)| json::object(&mut [("Label", (*name).into()), ("URL", url.as_str().into())]);
        json::object(&mut [
            ("Type", management.as_ref().map_or(kind.name(), |management| management.name.as_str()).into()),
            ("TimeStamp", self.event.at.to_rfc3339().into()),
            ("Title", self.title().into()),
            ("Text", self.text().into()),
            ("Severity", severity.name().into()),
            ("Resolves", resolves.into()),
            ("DedupKey", dedup_key(self.event).into()),
            ("API", visible(&meta.api_id).into()),
            ("Organisation", visible(&meta.org_id).into()),
            ("Rows", facts.chunks(FACTS_PER_ROW).map(<[Value]>::to_vec).collect()),
            ("Facts", facts.into()),
            ("Links", self.links.iter().map(link).collect()),
        ])
    }

    /// The data of a message for programs.
    pub(super) fn view_for_programs(&self) -> Value {
        let Event { kind, meta, management, id, .. } = self.event;
        json::object(&mut [
            ("Type", management.as_ref().map_or(kind.name(), |management| management.name.as_str()).into()),
            ("TimeStamp", self.event.at.to_rfc3339().into()),
            ("ID", id.as_str().into()),
            ("Source", self.source.into()),
            ("API", visible(&meta.api_id).into()),
            ("Data", self.data()),
        ])
    }

    /// One line without markup.
    fn title(&self) -> String {
        let Event { kind, meta, management, .. } = self.event;
        let (_, headline) = kinds::of(*kind);
        let mut title = match meta.suppressed {
            0 if meta.would_refuse => format!("Only observed: {headline}"),
            0 => headline.to_owned(),
            events => format!("{events} events: {headline}"),
        };
        if let Some(management) = management
            && !management.action.is_empty()
        {
            title.push(' ');
            title.push_str(kinds::done(management));
        }
        let subject = name_of_subject(self.event);
        if !subject.is_empty() && !is_about_several(self.event) {
            title.push_str(": ");
            title.push_str(&subject);
        }
        title
    }

    /// Tyk's message, or the paragraph of a digest and the crossed thresholds that it lists, one to a line.
    fn text(&self) -> String {
        let meta = &self.event.meta;
        if meta.suppressed == 0 {
            return visible(&meta.message);
        }
        let Meta { suppressed, first_seen, last_seen, crossings, unnamed, .. } = meta;
        let mut text = format!(
            "This message reports {suppressed} events. The first happened at {first_seen}, the last at {last_seen}. \
             The other details are those of the first event."
        );
        for crossed in crossings.iter().take(MOST_CROSSINGS) {
            text.push_str("\n- ");
            text.push_str(&visible(&crossed.to_string()));
        }
        let unlisted = crossings.len().saturating_sub(MOST_CROSSINGS);
        let unlisted = unnamed.saturating_add(u64::try_from(unlisted).unwrap_or(u64::MAX));
        if !crossings.is_empty() && unlisted > 0 {
            text.push_str(&format!("\n- and {unlisted} more"));
        }
        text
    }

    /// The payload of a management event, or the details of another event.
    fn data(&self) -> Value {
        let mut data = match &self.event.management {
            Some(management) => management.payload.clone(),
            None => Value::Object(details(self.event)),
        };
        if let Value::Object(members) = &mut data
            && !self.links.is_empty()
        {
            let links = self.links.iter().map(|(name, url)| ((*name).to_owned(), url.as_str().into()));
            members.insert("links".to_owned(), Value::Object(links.collect()));
        }
        data
    }
}
