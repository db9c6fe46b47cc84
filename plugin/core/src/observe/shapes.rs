//! The fields of each event's payload.
//!
//! Tyk documents the portal's thirteen events by samples ("Configure webhooks"); each field has its type here. Of the
//! dashboard's events it documents one, a submitted key request ("Portal events and notifications"). Its fields must
//! have their types if present; all other fields are free.

use std::fmt;

use crate::base::datetime;
use crate::event::EventKind;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A whole number.
    Integer,
    /// A string.
    Text,
    /// An RFC 3339 time, as a string.
    Time,
    /// `true` or `false`.
    Boolean,
    /// A list of whole numbers.
    Integers,
    /// A list of strings.
    Texts,
    /// A list of objects with the strings `Identifier` and `Value`.
    Attributes,
    /// An object with any fields.
    Object,
    /// An object with these fields.
    Fields(&'static [Field]),
}

/// A field of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Its type.
    pub of: FieldType,
    /// True if a payload must have it.
    pub required: bool,
}

const fn field(name: &'static str, of: FieldType) -> Field {
    Field { name, of, required: true }
}

const fn optional(name: &'static str, of: FieldType) -> Field {
    Field { name, of, required: false }
}

use FieldType::{Attributes, Boolean, Fields, Integer, Integers, Object, Text, Texts, Time};

const fn user(by_user: Field) -> [Field; 10] {
    [
        field("ID", Integer),
        field("Email", Text),
        field("First", Text),
        field("Last", Text),
        field("OrgID", Integer),
        field("Provider", Text),
        field("Status", Text),
        field("CreatedAt", Time),
        by_user,
        field("CustomAttributes", Attributes),
    ]
}

const USER: [Field; 10] = user(field("ByUser", Integer));

/// The samples of a reset password and of an approved organisation have no acting user.
const USER_ALONE: [Field; 10] = user(optional("ByUser", Integer));

const APPLICATION: [Field; 4] =
    [field("ID", Integer), field("Name", Text), field("UserID", Integer), field("CreatedAt", Time)];

const CREDENTIAL: [Field; 5] = [
    field("ID", Integer),
    field("ByUser", Integer),
    field("AccessRequestID", Integer),
    field("AppID", Integer),
    field("CreatedAt", Time),
];

const ACCESS_REQUEST: [Field; 7] = [
    field("ID", Integer),
    field("AppID", Integer),
    field("ByUser", Integer),
    field("Status", Text),
    field("ProductIDs", Integers),
    field("PlanID", Integer),
    field("CreatedAt", Time),
];

const ORGANISATION: [Field; 3] = [field("ID", Integer), field("Name", Text), field("CreatedAt", Time)];

const ORGANISATION_REQUEST: [Field; 7] = [
    field("Name", Text),
    field("AdminEmail", Text),
    field("AdminID", Integer),
    field("ByUser", Integer),
    field("TeamIDs", Integers),
    field("Status", Text),
    field("CreatedAt", Time),
];

const DEVELOPER: [Field; 8] = [
    optional("id", Text),
    optional("email", Text),
    optional("date_created", Time),
    optional("inactive", Boolean),
    optional("org_id", Text),
    optional("keys", Object),
    optional("subscriptions", Object),
    optional("last_login_date", Time),
];

const CATALOGUE_ENTRY: [Field; 10] = [
    optional("name", Text),
    optional("short_description", Text),
    optional("long_description", Text),
    optional("show", Boolean),
    optional("api_id", Text),
    optional("policy_id", Text),
    optional("documentation", Text),
    optional("version", Text),
    optional("is_keyless", Boolean),
    optional("config", Object),
];

const KEY_REQUEST: [Field; 9] = [
    optional("id", Text),
    optional("org_id", Text),
    optional("for_plan", Text),
    optional("apply_policies", Texts),
    optional("by_user", Text),
    optional("approved", Boolean),
    optional("date_created", Time),
    optional("portal_developer", Fields(&DEVELOPER)),
    optional("catalogue_entry", Fields(&CATALOGUE_ENTRY)),
];

/// An item of `CustomAttributes`.
pub const ATTRIBUTE: &[Field] = &[field("Identifier", Text), field("Value", Text)];

/// The fields of an event's payload, in the order of its sample; empty for events without a sample.
pub fn fields(kind: EventKind) -> &'static [Field] {
    match kind {
        EventKind::KeyRequestEvent => &KEY_REQUEST,
        EventKind::UserRegistered | EventKind::UserAccountActivated | EventKind::UserAccountDeactivated => &USER,
        EventKind::PasswordReset | EventKind::OrganisationRequestApproved => &USER_ALONE,
        EventKind::ApplicationRegistered => &APPLICATION,
        EventKind::CredentialRegistered => &CREDENTIAL,
        EventKind::AccessRequestCreated | EventKind::AccessRequestApproved | EventKind::AccessRequestRejected => {
            &ACCESS_REQUEST
        }
        EventKind::OrganisationRegistered => &ORGANISATION,
        EventKind::OrganisationRequestCreated | EventKind::OrganisationRequestRejected => &ORGANISATION_REQUEST,
        _ => &[],
    }
}

/// The order of the fields of a payload, or of its field `parent`.
pub(super) fn order(kind: EventKind, parent: &str) -> Vec<&'static str> {
    let all = fields(kind);
    let below = all.iter().find(|field| field.name == parent).and_then(|field| match field.of {
        Fields(fields) => Some(fields),
        _ => None,
    });
    let fields = if parent.is_empty() { all } else { below.unwrap_or_default() };
    fields.iter().map(|field| field.name).collect()
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Integer => "a whole number",
            Text => "a string",
            Time => "an RFC 3339 time such as \"2024-04-22T16:38:54Z\"",
            Boolean => "true or false",
            Integers => "a list of whole numbers",
            Texts => "a list of strings",
            Attributes => "a list of objects {\"Identifier\", \"Value\"}",
            Object | Fields(_) => "an object",
        })
    }
}

/// True for an existing RFC 3339 time: a date, `T`, a time with seconds or finer, and `Z` or an offset.
pub fn is_rfc3339(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches('0');
            // Go writes up to nine digits.
            let digits = fraction.len().saturating_sub(offset.len());
            if !(1..=9).contains(&digits) {
                return false;
            }
            offset
        }
        None => rest,
    };
    let date_and_time = text.get(..10).zip(text.get(11..19));
    matches!(offset, "Z" | "+00:00" | "-00:00")
        && date_and_time.is_some_and(|(date, time)| datetime::is_date_and_time(date, time))
}
