//! The Enterprise Developer Portal, from its OpenAPI document, the documentation's list of endpoints, and the forms of
//! its default theme.
//!
//! The admin API answers 200 with the created object, or with `{"status", "message"}`. Its times have no zone, so
//! payloads do not contain them. Pages answer a form with a redirect; a redirect back to the form or to the login is a
//! failure. The page that approves or rejects organisation requests is not documented. Some events appear in no
//! exchange: a credential that an approved request creates, a sign-up by single sign-on, and the portal's own actions.

use serde_json::Value;

use super::{BOTH, NEITHER, REQUEST, RESPONSE, Row, object, text};
use crate::event::EventKind;
use crate::observe::exchange::{BodyView, Seen};
use crate::observe::occurrence::{Occurrence, OrgId};
use crate::observe::secrets::is_secret;

/// A form may name the intended method in `_method`.
const FORM: &[&str] = &["POST", "PUT"];

pub(super) const ROWS: &[Row] = &[
    Row::new(&["POST"], "/portal-api/users", RESPONSE, is_made, |seen, found| {
        user(seen, EventKind::UserRegistered, found)
    }),
    Row::new(&["PUT"], "/portal-api/users/{id}", BOTH, is_switched, user_switched),
    Row::new(&["POST"], "/portal-api/apps", RESPONSE, is_made, application),
    Row::new(&["POST"], "/portal-api/apps/{id}/custom_credentials", RESPONSE, is_made, credential),
    Row::new(&["PUT"], "/portal-api/apps/{id}/provision", RESPONSE, is_done, provisioned),
    Row::new(&["PUT"], "/portal-api/access_requests/{id}/approve", RESPONSE, is_done, approved),
    Row::new(&["PUT"], "/portal-api/access_requests/{id}/reject", RESPONSE, is_done, rejected),
    Row::new(&["POST"], "/portal-api/organisations", RESPONSE, is_made, organisation),
    Row::new(&["POST"], "/auth/password/register", REQUEST, is_registered, signed_up),
    Row::new(&["POST"], "/portal/private/users/invite", REQUEST, is_moved_on, invited),
    Row::new(FORM, "/admin/users/{id}/activate", NEITHER, is_done_on_page, activated),
    Row::new(FORM, "/admin/admin_users/{id}/activate", NEITHER, is_done_on_page, activated),
    Row::new(FORM, "/admin/users/{id}/deactivate", NEITHER, is_done_on_page, deactivated),
    Row::new(FORM, "/admin/admin_users/{id}/deactivate", NEITHER, is_done_on_page, deactivated),
    Row::new(&["POST"], "/auth/password/recover", REQUEST, is_recovering, password_reset),
    Row::new(&["POST"], "/auth/password/new", REQUEST, is_recovering, password_reset),
    Row::new(&["POST"], "/portal/private/apps", REQUEST, is_moved_on, application_form),
    Row::new(&["POST"], "/portal/private/cart/provision", REQUEST, is_moved_on, cart),
    Row::new(FORM, "/admin/access_requests/{id}/approve", NEITHER, is_done_on_page, approved),
    Row::new(FORM, "/admin/access_requests/{id}/reject", NEITHER, is_done_on_page, rejected),
    Row::new(&["POST"], "/admin/organisations", REQUEST, is_done_on_page, organisation_form),
    Row::new(&["POST"], "/admin/organisations/new", REQUEST, is_done_on_page, organisation_form),
    Row::new(&["POST"], "/portal/private/organisation", REQUEST, is_moved_on, organisation_requested),
];

/// The answer has the id of a new object.
fn is_made(seen: &Seen<'_>) -> bool {
    matches!(seen.status(), 200 | 201) && seen.response().json("/ID").is_some_and(Value::is_number)
}

/// The answer says only that the operation succeeded.
fn is_done(seen: &Seen<'_>) -> bool {
    const FAILURES: [&str; 3] = ["error", "failed", "failure"];
    let says =
        |failure: &&str| seen.response().text("/status").is_some_and(|status| status.eq_ignore_ascii_case(failure));
    let is_object = seen.response().json("").is_some_and(Value::is_object);
    seen.status() == 200 && is_object && !FAILURES.iter().any(says)
}

/// The path that a page redirects to.
fn moved<'e>(seen: &Seen<'e>) -> Option<&'e str> {
    seen.location().filter(|location| matches!(seen.status(), 302 | 303) && !location.is_empty())
}

/// The redirect leads to the next page, not to the login of a user who is not logged in.
fn is_moved_on(seen: &Seen<'_>) -> bool {
    moved(seen).is_some_and(|location| !location.starts_with("/auth/") && !location.contains("/login"))
}

/// Administration pages answer scripts with JSON.
fn is_done_on_page(seen: &Seen<'_>) -> bool {
    let is_json = seen.exchange.response_type.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    is_moved_on(seen) || seen.status() == 200 && is_json
}

fn is_registered(seen: &Seen<'_>) -> bool {
    let is_back =
        |location: &str| matches!(location, "/auth/password/register" | "/auth/password/new" | "/auth/register");
    moved(seen).is_some_and(|location| !is_back(location))
}

/// The redirect does not lead back to the form, as it does after a failure.
fn is_recovering(seen: &Seen<'_>) -> bool {
    let is_back = |location: &str| matches!(location, "/auth/password/new" | "/auth/password/recover");
    moved(seen).is_some_and(|location| !is_back(location))
}

/// True if a request sets only whether a user is active, and the answer agrees. An exchange does not show the earlier
/// state. So a request that saves the whole user, which has `Active`, too, is not an event.
fn is_switched(seen: &Seen<'_>) -> bool {
    let Some(wanted) = seen.request().json("").and_then(Value::as_object) else { return false };
    let is_all = wanted.keys().all(|name| name == "Active" || name == "ID");
    let active = wanted.get("Active").filter(|active| active.is_boolean());
    is_made(seen) && is_all && active.is_some() && active == seen.response().json("/Active")
}

fn user_switched(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let is_active = seen.response().json("/Active") == Some(&Value::Bool(true));
    user(seen, if is_active { EventKind::UserAccountActivated } else { EventKind::UserAccountDeactivated }, found);
}

fn tell<const N: usize>(found: &mut Vec<Occurrence>, kind: EventKind, message: [(&str, Option<Value>); N]) {
    found.push(Occurrence::new(kind, None, OrgId::OfApi, object(message)));
}

fn answered(seen: &Seen<'_>, pointer: &str) -> Option<Value> {
    seen.response().json(pointer).filter(|value| !value.is_null()).cloned()
}

fn filled_in(seen: &Seen<'_>, field: &str) -> Option<Value> {
    seen.request().field(field).map(Value::from)
}

/// An id in a path or in a form.
fn id(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

fn user(seen: &Seen<'_>, kind: EventKind, found: &mut Vec<Occurrence>) {
    let status = match seen.response().json("/Active") {
        Some(Value::Bool(true)) => text("active"),
        Some(Value::Bool(false)) => text("inactive"),
        _ => None,
    };
    let message = [
        ("ID", answered(seen, "/ID")),
        ("Email", answered(seen, "/Email")),
        ("First", answered(seen, "/First")),
        ("Last", answered(seen, "/Last")),
        ("OrgID", answered(seen, "/OrganisationID")),
        ("Provider", answered(seen, "/Provider")),
        ("Status", status),
        ("CreatedAt", answered(seen, "/CreatedAt")),
    ];
    tell(found, kind, message);
}

fn application(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let message = ["ID", "Name", "UserID", "CreatedAt"].map(|name| (name, answered(seen, &format!("/{name}"))));
    tell(found, EventKind::ApplicationRegistered, message);
}

fn credential(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let message =
        [("ID", answered(seen, "/ID")), ("AppID", id(seen.path("id"))), ("CreatedAt", answered(seen, "/CreatedAt"))];
    tell(found, EventKind::CredentialRegistered, message);
}

fn provisioned(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::AccessRequestCreated, [("AppID", id(seen.path("id")))]);
}

fn approved(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::AccessRequestApproved, [("ID", id(seen.path("id"))), ("Status", text("approved"))]);
}

fn rejected(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::AccessRequestRejected, [("ID", id(seen.path("id"))), ("Status", text("rejected"))]);
}

fn organisation(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let message = ["ID", "Name", "CreatedAt"].map(|name| (name, answered(seen, &format!("/{name}"))));
    tell(found, EventKind::OrganisationRegistered, message);
}

fn activated(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::UserAccountActivated, [("ID", id(seen.path("id"))), ("Status", text("active"))]);
}

fn deactivated(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::UserAccountDeactivated, [("ID", id(seen.path("id"))), ("Status", text("inactive"))]);
}

fn signed_up(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let message = [
        ("Email", filled_in(seen, "email")),
        ("First", filled_in(seen, "first")),
        ("Last", filled_in(seen, "last")),
        ("CustomAttributes", attributes(seen.request())),
    ];
    tell(found, EventKind::UserRegistered, message);
}

/// The form has a field for each custom attribute, named by its identifier, beside the fields that every user has.
/// Fields for secrets or for the page's own state are neither.
fn attributes(form: BodyView<'_>) -> Option<Value> {
    const OWN: [&str; 5] = ["email", "first", "last", "invite_id", "utf8"];
    let is_attribute = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let is_internal =
            name.starts_with('_') || ["pass", "secret", "token", "csrf"].iter().any(|part| lower.contains(part));
        !name.is_empty() && !OWN.contains(&name) && !is_internal && !is_secret(name)
    };
    let attribute = |(name, value): &(String, String)| {
        object([("Identifier", Some(Value::from(name.as_str()))), ("Value", Some(Value::from(value.as_str())))])
    };
    let list: Vec<Value> = form.fields().iter().filter(|(name, _)| is_attribute(name)).map(attribute).collect();
    (!list.is_empty()).then_some(Value::Array(list))
}

fn invited(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let message = [("Email", "email"), ("First", "first"), ("Last", "last")];
    tell(found, EventKind::UserRegistered, message.map(|(name, field)| (name, filled_in(seen, field))));
}

fn password_reset(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::PasswordReset, [("Email", filled_in(seen, "email"))]);
}

fn application_form(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    if seen.request().field("mode") == Some("create") {
        tell(found, EventKind::ApplicationRegistered, [("Name", filled_in(seen, "name"))]);
    }
}

/// A cart requests access for an application, which may be created with the request.
fn cart(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let form = seen.request();
    let is_new = form.field("app-action") == Some("create");
    if is_new {
        tell(found, EventKind::ApplicationRegistered, [("Name", filled_in(seen, "client_name"))]);
    }
    let selected = form.field("selected-app").filter(|_| !is_new);
    let message = [("AppID", selected.and_then(id)), ("PlanID", plan(form))];
    tell(found, EventKind::AccessRequestCreated, message);
}

/// The plan for the cart's catalogue, or the only plan.
fn plan(form: BodyView<'_>) -> Option<Value> {
    let of_catalogue = form.field("catalogue-id").and_then(|catalogue| form.field(&format!("plan-for-{catalogue}")));
    let plans =
        || form.fields().iter().filter(|(name, _)| name.starts_with("plan-for-")).map(|(_, plan)| plan.as_str());
    let only = || plans().next().filter(|first| plans().all(|plan| plan == *first));
    of_catalogue.or_else(only).and_then(id)
}

fn organisation_form(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let form = seen.request();
    // The administration's forms put the type of object into the names of their fields.
    let name = form.field("QorResource.Name").or_else(|| form.field("name"));
    if form.field("_method").is_none_or(|method| method.eq_ignore_ascii_case("POST")) {
        tell(found, EventKind::OrganisationRegistered, [("Name", name.map(Value::from))]);
    }
}

fn organisation_requested(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    tell(found, EventKind::OrganisationRequestCreated, [("Name", filled_in(seen, "name"))]);
}
