//! The fields of Tyk's sessions, policies, rights and limits that restrict a key, by the filter's own lists. An
//! unlisted field could restrict a key, too.

pub(super) use tollbell_core::config::fields::{LIMIT, PARTITIONS, POLICY, RIGHT, RULE, SESSION};
use tollbell_core::config::fields::{SessionField, Use};

use super::source::{At, says_something};

/// The first field with a value that restricts or could restrict a key, and the reason. `others` are names that are
/// handled elsewhere.
pub(super) fn restriction<'f>(
    fields: &[SessionField],
    at: &At<'f>,
    others: &[(&str, &str)],
) -> Option<(&'f str, &'static str)> {
    let entries = at.entries().into_iter().filter(|(_, value)| value.value().is_some_and(says_something));
    let mut entries = entries.filter(|(name, _)| !others.iter().any(|(known, _)| known == name));
    entries.find_map(|(name, _)| match fields.iter().find(|field| field.name == name).map(|field| field.usage) {
        Some(Use::Honoured(_) | Use::Ignored(_)) => None,
        Some(Use::Closes(why)) => Some((name, why)),
        None => Some((name, "tollbell does not know this field, which could restrict a key")),
    })
}
