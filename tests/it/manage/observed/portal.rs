//! Requests to the developer portal, and its answers.

use serde_json::{Value, json};

use super::exchange::{Exchange, with};

/// Times in the form of the portal's OpenAPI document, and in the form of its webhooks.
const TIMES: [&str; 2] = ["2024-04-22 16:38", "2024-04-22T16:38:54.068565+02:00"];

const PERSON: &str = "email=dev%40acme.test&first=J%C3%B6rg+%26+Co&last=%3CUser%3E";

/// A payload with the time of creation, if it shows the exact moment.
fn created(payload: &Value, time: &str) -> Value {
    if time.contains('T') { with(payload, "CreatedAt", &json!(time)) } else { payload.clone() }
}

pub(super) fn exchanges() -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = TIMES.into_iter().flat_map(made).collect();
    exchanges.extend(decisions());
    exchanges.extend(people());
    exchanges.extend(forms());
    exchanges.extend(failures());
    exchanges
}

fn user(active: bool, time: &str) -> Value {
    json!({ "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrganisationID": 2,
        "Organisation": "Acme", "Provider": "password", "Active": active, "Role": "r", "Teams": [],
        "CreatedAt": time, "UpdatedAt": "u", "JWTToken": "hunter2" })
}

/// Objects that the admin API creates or changes, and returns.
fn made(time: &str) -> Vec<Exchange> {
    let user_shown = |status: &str| {
        let user = json!({ "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrgID": 2,
            "Provider": "password", "Status": status });
        created(&user, time)
    };
    let app = json!({ "ID": 1, "Name": "A", "UserID": 2 });
    let organisation = json!({ "ID": 8, "Name": "O" });
    let credential = json!({ "ID": 1, "CreatedAt": time, "Credential": "hunter2" });
    vec![
        Exchange::json(
            "POST /dev/portal-api/users",
            json!({ "Password": "hunter2" }),
            user(true, time),
            &[("UserRegistered", user_shown("active"))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/users/7",
            json!({ "Active": true }),
            user(true, time),
            &[("UserAccountActivated", user_shown("active"))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/users/7",
            json!({ "ID": 7, "Active": false }),
            user(false, time),
            &[("UserAccountDeactivated", user_shown("inactive"))],
        ),
        Exchange::json(
            "POST /dev/portal-api/apps",
            json!({ "Name": "A" }),
            with(&app, "CreatedAt", &json!(time)),
            &[("ApplicationRegistered", created(&app, time))],
        ),
        Exchange::json(
            "POST /dev/portal-api/apps/3/custom_credentials",
            json!({}),
            credential,
            &[("CredentialRegistered", created(&json!({ "ID": 1, "AppID": 3 }), time))],
        )
        .with_status(201),
        Exchange::json(
            "POST /dev/portal-api/organisations",
            json!({ "Name": "O" }),
            with(&organisation, "CreatedAt", &json!(time)),
            &[("OrganisationRegistered", created(&organisation, time))],
        ),
    ]
}

/// Access requests in the admin API, on pages, and on pages that answer scripts.
fn decisions() -> Vec<Exchange> {
    let done = json!({ "status": "ok", "message": "m" });
    let mut exchanges = vec![Exchange::json(
        "PUT /dev/portal-api/apps/3/provision",
        Value::Null,
        done.clone(),
        &[("AccessRequestCreated", json!({ "AppID": 3 }))],
    )];
    for (verb, event, status) in
        [("approve", "AccessRequestApproved", "approved"), ("reject", "AccessRequestRejected", "rejected")]
    {
        let events = [(event, json!({ "ID": 6, "Status": status }))];
        let page = format!("/dev/admin/access_requests/6/{verb}");
        exchanges.extend([
            Exchange::json(
                &format!("PUT /dev/portal-api/access_requests/6/{verb}"),
                Value::Null,
                done.clone(),
                &events,
            ),
            Exchange::json(&format!("PUT {page}"), Value::Null, json!({}), &events),
            Exchange::form(&page, "_method=put", "/admin/access_requests", &events),
        ]);
    }
    exchanges
}

/// Users and administrators that are activated or deactivated on a page.
fn people() -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for people in ["users", "admin_users"] {
        for (verb, event, status) in
            [("activate", "UserAccountActivated", "active"), ("deactivate", "UserAccountDeactivated", "inactive")]
        {
            let events = [(event, json!({ "ID": 7, "Status": status }))];
            let page = format!("/dev/admin/{people}/7/{verb}");
            exchanges.push(Exchange::json(&format!("PUT {page}"), Value::Null, json!({ "ID": 7 }), &events));
            exchanges.push(Exchange::form(&page, "_method=put", "/admin/users", &events));
        }
    }
    exchanges
}

/// The pages of developers, and those that create organisations.
fn forms() -> Vec<Exchange> {
    let person = json!({ "Email": "dev@acme.test", "First": "Jörg & Co", "Last": "<User>" });
    let attributes = json!([{ "Identifier": "company-name", "Value": "ACME" }]);
    let register = format!("{PERSON}&password1=hunter2&password2=hunter2&company-name=ACME");
    let reset = [("PasswordReset", json!({ "Email": "dev@acme.test" }))];
    let organisation = [("OrganisationRegistered", json!({ "Name": "O" }))];
    vec![
        Exchange::form(
            "/dev/auth/password/register",
            &register,
            "/auth/login",
            &[("UserRegistered", with(&person, "CustomAttributes", &attributes))],
        ),
        Exchange::form(
            "/dev/portal/private/users/invite",
            &format!("{PERSON}&role=r"),
            "/portal/private/users",
            &[("UserRegistered", person)],
        ),
        Exchange::form("/dev/auth/password/recover", "email=dev%40acme.test", "/auth/login?sent", &reset),
        Exchange::form("/dev/auth/password/new", "email=dev%40acme.test", "/auth/login?sent", &reset),
        Exchange::form(
            "/dev/portal/private/apps",
            "mode=create&name=New+App",
            "/portal/private/apps/3",
            &[("ApplicationRegistered", json!({ "Name": "New App" }))],
        ),
        Exchange::multipart(
            "/dev/portal/private/cart/provision",
            &[("catalogue-id", "1"), ("plan-for-1", "2"), ("selected-app", "3"), ("credential_action", "new")],
            "/portal/private/cart",
            &[("AccessRequestCreated", json!({ "AppID": 3, "PlanID": 2 }))],
        ),
        // An application is created with the request.
        Exchange::multipart(
            "/dev/portal/private/cart/provision",
            &[("catalogue-id", "1"), ("plan-for-1", "2"), ("app-action", "create"), ("client_name", "New App")],
            "/portal/private/cart",
            &[
                ("ApplicationRegistered", json!({ "Name": "New App" })),
                ("AccessRequestCreated", json!({ "PlanID": 2 })),
            ],
        ),
        Exchange::form("/dev/admin/organisations", "QorResource.Name=O", "/admin/organisations/8", &organisation),
        Exchange::form("/dev/admin/organisations/new", "QorResource.Name=O", "/admin/organisations/8", &organisation),
        Exchange::form(
            "/dev/portal/private/organisation",
            "name=ACME",
            "/portal/private/dashboard",
            &[("OrganisationRequestCreated", json!({ "Name": "ACME" }))],
        ),
    ]
}

/// Redirects to the form and to the login, an error, and exchanges without events.
fn failures() -> Vec<Exchange> {
    let [time, _] = TIMES;
    let refused = json!({ "status": "error", "message": "no" });
    vec![
        Exchange::form("/dev/auth/password/register", PERSON, "/auth/password/register", &[]),
        Exchange::form("/dev/portal/private/apps", "mode=create&name=New+App", "/auth/login", &[]),
        Exchange::form("/dev/auth/password/recover", "email=dev%40acme.test", "/auth/password/new", &[]),
        Exchange::json("POST /dev/portal-api/users", json!({}), user(true, time), &[]).with_status(500),
        Exchange::json("POST /dev/portal-api/users", json!({}), json!({ "error": "no" }), &[]).with_status(422),
        Exchange::json("PUT /dev/portal-api/access_requests/6/approve", Value::Null, refused, &[]),
        Exchange::json("PATCH /dev/portal-api/users", json!({}), user(true, time), &[]),
        Exchange::json("PUT /dev/portal-api/users/7", json!({ "Last": "User" }), user(true, time), &[]),
        Exchange::json("PUT /dev/portal-api/users/7", json!({ "Last": "User", "Active": true }), user(true, time), &[]),
    ]
}
