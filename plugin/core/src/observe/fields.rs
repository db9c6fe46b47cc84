//! The payload fields of each operation. The documentation shows this table, and tests compare the presets with it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::presets::Preset;
use super::shapes;
use crate::event::{EventKind, ManagementAction};

/// The fields that one operation has for one event.
#[derive(Clone, Copy, Debug)]
pub struct Brings {
    /// The application.
    pub preset: Preset,
    /// The method and the path.
    pub operation: &'static str,
    /// The event's type.
    pub kind: EventKind,
    /// The event's action, if its type has actions.
    pub action: Option<ManagementAction>,
    /// The fields of the payload. A question mark after a field means that it is present if the exchange has it. A dot
    /// separates a field from its own fields.
    pub fields: &'static [&'static str],
}

const fn brings(
    preset: Preset,
    operation: &'static str,
    kind: EventKind,
    action: Option<ManagementAction>,
    fields: &'static [&'static str],
) -> Brings {
    Brings { preset, operation, kind, action, fields }
}

use ManagementAction::{Add, Approved, Delete, Deleted, Submitted, Update, Updated};
use Preset::{Dashboard, Gateway, Portal};

const KEY_MADE: &[&str] = &["key_id?", "key_hash?", "data?"];
const KEY_GONE: &[&str] = &["key_id?", "key_hash?"];
const DEFINITION: &[&str] = &["api_definition"];
const DOCUMENT: &[&str] = &[
    "api_definition.api_id",
    "api_definition.id?",
    "api_definition.name?",
    "api_definition.org_id?",
    "api_definition.active?",
    "oas?",
];
const DOCUMENT_BY_ID: &[&str] = &[
    "api_definition.api_id?",
    "api_definition.id?",
    "api_definition.name?",
    "api_definition.org_id?",
    "api_definition.active?",
    "oas?",
];
const API_GONE: &[&str] = &["api_definition.api_id"];
const API_GONE_BY_ID: &[&str] = &["api_definition.api_id?", "api_definition.id?"];
const API_OBJECT: &[&str] = &["api_definition", "hook_references?", "user_owners?", "user_group_owners?", "oas?"];
const KEY_ANSWERED: &[&str] = &["api_model?", "key_id?", "key_hash?", "data?"];
const REQUEST: &[&str] = &[
    "id?",
    "org_id?",
    "for_plan?",
    "apply_policies?",
    "by_user?",
    "approved?",
    "date_created?",
    "portal_developer?",
    "catalogue_entry?",
    "version?",
    "fields?",
    "oauth_info?",
];
const USER: &[&str] = &["ID", "Email", "First", "Last", "OrgID", "Provider", "Status", "CreatedAt?"];
const ID_AND_STATUS: &[&str] = &["ID", "Status"];

const fn api(
    preset: Preset,
    operation: &'static str,
    action: ManagementAction,
    fields: &'static [&'static str],
) -> Brings {
    brings(preset, operation, EventKind::ApiEvent, Some(action), fields)
}

const fn key(
    preset: Preset,
    operation: &'static str,
    action: ManagementAction,
    fields: &'static [&'static str],
) -> Brings {
    brings(preset, operation, EventKind::KeyEvent, Some(action), fields)
}

/// An operation that names the key by its hash (`?hashed=…`).
const fn hashed(
    preset: Preset,
    operation: &'static str,
    action: ManagementAction,
    fields: &'static [&'static str],
) -> Brings {
    brings(preset, operation, EventKind::HashedKeyEvent, Some(action), fields)
}

const fn request(operation: &'static str, action: ManagementAction, fields: &'static [&'static str]) -> Brings {
    brings(Dashboard, operation, EventKind::KeyRequestEvent, Some(action), fields)
}

const fn portal(operation: &'static str, kind: EventKind, fields: &'static [&'static str]) -> Brings {
    brings(Portal, operation, kind, None, fields)
}

/// All recognised operations.
pub const TABLE: &[Brings] = &[
    key(Gateway, "POST /keys/create", Add, KEY_MADE),
    key(Gateway, "POST /keys", Add, KEY_MADE),
    key(Gateway, "POST /keys/{name}", Add, KEY_MADE),
    key(Gateway, "PUT /keys/{name}", Update, KEY_MADE),
    hashed(Gateway, "PUT /keys/{name}", Update, &["key_hash", "data?"]),
    key(Gateway, "DELETE /keys/{name}", Delete, KEY_GONE),
    hashed(Gateway, "DELETE /keys/{name}", Delete, &["key_hash"]),
    key(Gateway, "POST /keys/policy/{hash}", Update, KEY_GONE),
    api(Gateway, "POST /apis", Add, DEFINITION),
    api(Gateway, "POST /apis/{id}", Add, DEFINITION),
    api(Gateway, "PUT /apis/{id}", Update, DEFINITION),
    api(Gateway, "DELETE /apis/{id}", Delete, API_GONE),
    api(Gateway, "POST /apis/oas", Add, DOCUMENT),
    api(Gateway, "POST /apis/oas/import", Add, DOCUMENT),
    api(Gateway, "PUT, PATCH /apis/oas/{id}", Update, DOCUMENT),
    api(Gateway, "DELETE /apis/oas/{id}", Delete, API_GONE),
    api(Gateway, "POST /mcps", Add, DOCUMENT),
    api(Gateway, "PUT /mcps/{id}", Update, DOCUMENT),
    api(Gateway, "DELETE /mcps/{id}", Delete, API_GONE),
    api(Dashboard, "POST /api/apis", Add, API_OBJECT),
    api(Dashboard, "PUT /api/apis/{id}", Update, API_OBJECT),
    api(Dashboard, "DELETE /api/apis/{id}", Delete, API_GONE_BY_ID),
    api(Dashboard, "POST /api/apis/oas", Add, DOCUMENT),
    api(Dashboard, "POST /api/apis/oas/import", Add, DOCUMENT),
    api(Dashboard, "POST /api/apis/streams", Add, DOCUMENT),
    api(Dashboard, "PUT, PATCH /api/apis/oas/{id}", Update, DOCUMENT_BY_ID),
    api(Dashboard, "PUT, PATCH /api/apis/streams/{id}", Update, DOCUMENT_BY_ID),
    api(Dashboard, "DELETE /api/apis/oas/{id}", Delete, API_GONE_BY_ID),
    api(Dashboard, "DELETE /api/apis/streams/{id}", Delete, API_GONE_BY_ID),
    key(Dashboard, "POST /api/keys", Add, KEY_ANSWERED),
    key(Dashboard, "POST /api/keys/{custom}", Add, KEY_ANSWERED),
    key(Dashboard, "POST /api/apis/keys/basic/{user}", Add, KEY_ANSWERED),
    key(Dashboard, "PUT /api/keys/{key}", Update, KEY_ANSWERED),
    hashed(Dashboard, "PUT /api/keys/{key}", Update, &["api_model?", "key_hash", "data?"]),
    key(Dashboard, "PUT /api/apis/{api}/keys/{key}", Update, KEY_ANSWERED),
    hashed(Dashboard, "PUT /api/apis/{api}/keys/{key}", Update, &["api_model?", "key_hash", "data?"]),
    key(Dashboard, "DELETE /api/keys/{key}", Delete, KEY_GONE),
    hashed(Dashboard, "DELETE /api/keys/{key}", Delete, &["key_hash"]),
    key(Dashboard, "DELETE /api/apis/{api}/keys/{key}", Delete, KEY_GONE),
    hashed(Dashboard, "DELETE /api/apis/{api}/keys/{key}", Delete, &["key_hash"]),
    request("POST /api/portal/requests", Submitted, REQUEST),
    request("POST /api/portal/requests", Approved, REQUEST),
    request("PUT /api/portal/requests/approve/{id}", Approved, &["id", "approved", "oauth_info?"]),
    key(Dashboard, "PUT /api/portal/requests/approve/{id}", Add, &["key_id?"]),
    request("PUT /api/portal/requests/{id}", Updated, REQUEST),
    request("DELETE /api/portal/requests/{id}", Deleted, &["id"]),
    brings(Dashboard, "POST /api/portal/developers/password/{id}", EventKind::PortalPasswordResetEvent, None, &["id"]),
    portal("POST /portal-api/users", EventKind::UserRegistered, USER),
    portal("POST /auth/password/register", EventKind::UserRegistered, &["Email", "First", "Last", "CustomAttributes?"]),
    portal("POST /portal/private/users/invite", EventKind::UserRegistered, &["Email", "First", "Last"]),
    portal("PUT /portal-api/users/{id}", EventKind::UserAccountActivated, USER),
    portal("POST, PUT /admin/users/{id}/activate", EventKind::UserAccountActivated, ID_AND_STATUS),
    portal("POST, PUT /admin/admin_users/{id}/activate", EventKind::UserAccountActivated, ID_AND_STATUS),
    portal("PUT /portal-api/users/{id}", EventKind::UserAccountDeactivated, USER),
    portal("POST, PUT /admin/users/{id}/deactivate", EventKind::UserAccountDeactivated, ID_AND_STATUS),
    portal("POST, PUT /admin/admin_users/{id}/deactivate", EventKind::UserAccountDeactivated, ID_AND_STATUS),
    portal("POST /auth/password/recover", EventKind::PasswordReset, &["Email"]),
    portal("POST /auth/password/new", EventKind::PasswordReset, &["Email"]),
    portal("POST /portal-api/apps", EventKind::ApplicationRegistered, &["ID", "Name", "UserID", "CreatedAt?"]),
    portal("POST /portal/private/apps", EventKind::ApplicationRegistered, &["Name"]),
    portal("POST /portal/private/cart/provision", EventKind::ApplicationRegistered, &["Name"]),
    portal(
        "POST /portal-api/apps/{id}/custom_credentials",
        EventKind::CredentialRegistered,
        &["ID", "AppID", "CreatedAt?"],
    ),
    portal("PUT /portal-api/apps/{id}/provision", EventKind::AccessRequestCreated, &["AppID"]),
    portal("POST /portal/private/cart/provision", EventKind::AccessRequestCreated, &["AppID?", "PlanID?"]),
    portal("PUT /portal-api/access_requests/{id}/approve", EventKind::AccessRequestApproved, ID_AND_STATUS),
    portal("POST, PUT /admin/access_requests/{id}/approve", EventKind::AccessRequestApproved, ID_AND_STATUS),
    portal("PUT /portal-api/access_requests/{id}/reject", EventKind::AccessRequestRejected, ID_AND_STATUS),
    portal("POST, PUT /admin/access_requests/{id}/reject", EventKind::AccessRequestRejected, ID_AND_STATUS),
    portal("POST /portal-api/organisations", EventKind::OrganisationRegistered, &["ID", "Name", "CreatedAt?"]),
    portal("POST /admin/organisations", EventKind::OrganisationRegistered, &["Name?"]),
    portal("POST /admin/organisations/new", EventKind::OrganisationRegistered, &["Name?"]),
    portal("POST /portal/private/organisation", EventKind::OrganisationRequestCreated, &["Name"]),
];

/// The table in Markdown: a row for each event and operation, and a row for each event that no operation shows.
pub fn markdown() -> String {
    let mut text = String::from("| Event | Preset | Operation | In the payload | Not in it |\n|---|---|---|---|---|\n");
    for kind in EventKind::of_management() {
        let rows: Vec<&Brings> = TABLE.iter().filter(|row| row.kind == kind).collect();
        if rows.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| `{kind}` | – | only posted by the application | – | – |");
        }
        for row in rows {
            let name = row.action.map_or_else(|| kind.to_string(), |action| format!("{kind}.{}", action.name()));
            let shown = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
            let there = shown(&mut row.fields.iter().map(|field| match field.strip_suffix('?') {
                Some(name) => format!("`{name}`*"),
                None => format!("`{field}`"),
            }));
            let there = if there.is_empty() { "–".to_owned() } else { there };
            let known: BTreeSet<&str> = row.fields.iter().map(|field| field.trim_end_matches('?')).collect();
            let missing = shown(
                &mut shapes::fields(kind)
                    .iter()
                    .filter(|field| !known.contains(field.name))
                    .map(|field| format!("`{}`", field.name)),
            );
            let missing = if missing.is_empty() { "–".to_owned() } else { missing };
            let (preset, operation) = (row.preset.name(), row.operation);
            let _ = writeln!(text, "| `{name}` | {preset} | `{operation}` | {there} | {missing} |");
        }
    }
    text.push_str("\n\\* where the exchange has it\n");
    text
}
