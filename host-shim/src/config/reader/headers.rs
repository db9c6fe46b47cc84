//! Reads the headers that routes add and remove.

use super::model::{AppendAction, HeaderChanges, HeaderToAdd};
use super::{Message, Place};

const ACTIONS: [AppendAction; 4] =
    [AppendAction::Append, AppendAction::AddIfAbsent, AppendAction::OverwriteOrAdd, AppendAction::OverwriteIfExists];

/// Reads the four fields of routes, virtual hosts and route configurations.
pub(super) fn changes(message: &Message<'_>) -> HeaderChanges {
    HeaderChanges {
        request_add: added(message, "request_headers_to_add"),
        request_remove: removed(message, "request_headers_to_remove"),
        response_add: added(message, "response_headers_to_add"),
        response_remove: removed(message, "response_headers_to_remove"),
    }
}

/// Reads the two fields of requests.
pub(super) fn changes_of_request(message: &Message<'_>) -> HeaderChanges {
    HeaderChanges {
        request_add: added(message, "request_headers_to_add"),
        request_remove: removed(message, "request_headers_to_remove"),
        ..HeaderChanges::default()
    }
}

fn added(message: &Message<'_>, field: &'static str) -> Vec<HeaderToAdd> {
    message.items(field).iter().filter_map(header).collect()
}

fn removed(message: &Message<'_>, field: &'static str) -> Vec<String> {
    let names = message.items(field);
    names.iter().filter_map(|place| header_name(place, "removed")).collect()
}

fn header(place: &Place<'_>) -> Option<HeaderToAdd> {
    let option = place.message("HeaderValueOption")?;
    let header = option.required("header");
    let append = option.get("append");
    let names = ["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"];
    let index = option.choice("append_action", &names);
    let mut action = ACTIONS.get(index).copied().unwrap_or(AppendAction::Append);
    if let Some(append) = append {
        if index > 0 {
            append.error("append and append_action cannot both be set");
        }
        action = if append.bool()? { AppendAction::Append } else { AppendAction::OverwriteOrAdd };
    }
    let keeps_empty = option.bool("keep_empty_value");
    option.done();
    let header = header?.message("HeaderValue")?;
    let name = header.required("key");
    let value = header.one_of(&["value", "raw_value"]);
    header.done();
    let name = header_name(&name?, "changed")?;
    let value = match value {
        Some(("value", place)) => substituted(&place, &place.string()?)?,
        Some((_, place)) => String::from_utf8_lossy(&place.bytes()?).into_owned(),
        None => String::new(),
    };
    // By default, Envoy does not add a header without a value.
    (keeps_empty || !value.is_empty()).then_some(HeaderToAdd { name, value, action })
}

/// Reads the name of a header, and converts it to lower case.
fn header_name(place: &Place<'_>, verb: &str) -> Option<String> {
    let name = place.string()?.to_ascii_lowercase();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        place.error(format!("{name:?} is not a header name"));
        return None;
    }
    if name.starts_with(':') || name == "host" {
        place.error(format!("{name} cannot be {verb}: neither host nor a name that begins with a colon can"));
        return None;
    }
    Some(name)
}

/// Replaces `%%` by `%`.
fn substituted(place: &Place<'_>, text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split("%%").collect();
    let commands = parts.iter().map(|part| part.matches('%').count()).sum::<usize>();
    if commands % 2 == 1 {
        place.error(format!("{text:?} has a single %: write %% for one"));
        return None;
    }
    if commands > 0 {
        place.warn("the shim does not replace %…%: it sends the value as it is");
    }
    Some(parts.join("%"))
}
