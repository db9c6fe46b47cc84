//! The portal's operations.

use super::*;

/// A time in the form of the portal's admin API.
const ZONELESS: &str = "2024-04-22 16:38";

pub(super) fn admin_api() -> Vec<Case> {
    let of = |operation, target: &str, request, response, expected: (&'static str, Value)| {
        answered(Preset::Portal, operation, target, request, response, &[(expected.0, None, expected.1)])
    };
    let user = |active: bool| {
        json!({
        "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrganisationID": 2, "Organisation": "Acme",
        "Provider": "password", "Active": active, "Role": "r", "Teams": [], "CreatedAt": ZONELESS, "UpdatedAt": "u",
        "JWTToken": "hunter2" })
    };
    let shown = |status: &str| {
        json!({
        "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrgID": 2, "Provider": "password",
        "Status": status })
    };
    let done = || json!({ "status": "ok", "message": "m" });
    let mut cases = vec![
        of(
            "POST /portal-api/users",
            "/portal-api/users",
            json!({ "Password": "hunter2" }),
            user(true),
            ("UserRegistered", shown("active")),
        ),
        of(
            "PUT /portal-api/users/{id}",
            "/portal-api/users/7",
            json!({ "Active": true }),
            user(true),
            ("UserAccountActivated", shown("active")),
        ),
        of(
            "PUT /portal-api/users/{id}",
            "/portal-api/users/7",
            json!({ "ID": 7, "Active": false }),
            user(false),
            ("UserAccountDeactivated", shown("inactive")),
        ),
        of(
            "POST /portal-api/apps",
            "/portal-api/apps",
            json!({}),
            json!({ "ID": 1, "Name": "A", "UserID": 2, "CreatedAt": ZONELESS, "X": 1 }),
            ("ApplicationRegistered", json!({ "ID": 1, "Name": "A", "UserID": 2 })),
        ),
        Case {
            status: 201,
            ..of(
                "POST /portal-api/apps/{id}/custom_credentials",
                "/portal-api/apps/3/custom_credentials",
                json!({}),
                json!({ "ID": 1, "CreatedAt": ZONELESS, "Credential": "hunter2" }),
                ("CredentialRegistered", json!({ "ID": 1, "AppID": 3 })),
            )
        },
        of(
            "PUT /portal-api/apps/{id}/provision",
            "/portal-api/apps/3/provision",
            Value::Null,
            done(),
            ("AccessRequestCreated", json!({ "AppID": 3 })),
        ),
        of(
            "PUT /portal-api/access_requests/{id}/approve",
            "/portal-api/access_requests/6/approve",
            Value::Null,
            done(),
            ("AccessRequestApproved", json!({ "ID": 6, "Status": "approved" })),
        ),
        of(
            "PUT /portal-api/access_requests/{id}/reject",
            "/portal-api/access_requests/6/reject/",
            Value::Null,
            done(),
            ("AccessRequestRejected", json!({ "ID": 6, "Status": "rejected" })),
        ),
        of(
            "POST /portal-api/organisations",
            "/portal-api/organisations",
            json!({}),
            json!({ "ID": 8, "Name": "O", "CreatedAt": ZONELESS }),
            ("OrganisationRegistered", json!({ "ID": 8, "Name": "O" })),
        ),
    ];
    // A portal that gives its times with their zone.
    let with_time: Vec<Case> = cases.iter().filter_map(Case::with_time).collect();
    cases.extend(with_time);
    cases
}

impl Case {
    fn with_time(&self) -> Option<Case> {
        const TIME: &str = "2024-04-22T16:38:54.068565+02:00";
        let Body::Json(mut response) = self.response.clone() else { return None };
        *response.get_mut("CreatedAt")? = TIME.into();
        let mut case = self.clone_with(Body::Json(response));
        case.expected.iter_mut().for_each(|(_, _, message)| message["CreatedAt"] = TIME.into());
        Some(case)
    }
}

pub(super) fn pages() -> Vec<Case> {
    let of = |operation: &'static str,
              target: &str,
              fields: &[(&str, &str)],
              location,
              expected: &[(&'static str, Value)]| Case {
        preset: Preset::Portal,
        operation,
        method: operation.split([' ', ',']).next().unwrap(),
        target: target.to_owned(),
        request: form(fields),
        status: 303,
        location: Some(location),
        response: Body::Unreadable("of the type text/html".to_owned()),
        expected: expected.iter().map(|(name, message)| (*name, None, message.clone())).collect(),
    };
    let person = [("email", "dev@acme.test"), ("first", "Test"), ("last", "User")];
    let shown = || json!({ "Email": "dev@acme.test", "First": "Test", "Last": "User" });
    let with = |fields: &[(&'static str, &'static str)]| [&person, fields].concat();
    let id_and = |status: &str| json!({ "ID": 7, "Status": status });
    let mut attributes = shown();
    attributes["CustomAttributes"] = json!([{ "Identifier": "company-name", "Value": "ACME" }]);
    let cart = [("catalogue-id", "1"), ("plan-for-1", "2"), ("plan-for-9", "5"), ("credential_action", "new")];
    let in_cart = |fields: &[(&'static str, &'static str)]| [&cart, fields].concat();
    let mut cases = vec![
        of(
            "POST /auth/password/register",
            "/auth/password/register",
            &with(&[
                ("password1", "hunter2"),
                ("password2", "hunter2"),
                ("invite_id", "i"),
                ("gorilla.csrf.Token", "hunter2"),
                ("company-name", "ACME"),
            ]),
            "/auth/login",
            &[("UserRegistered", attributes)],
        ),
        of(
            "POST /auth/password/register",
            "/auth/password/register?token=t",
            &person,
            "/",
            &[("UserRegistered", shown())],
        ),
        of(
            "POST /portal/private/users/invite",
            "/portal/private/users/invite",
            &with(&[("role", "r"), ("teams", "1")]),
            "/portal/private/users",
            &[("UserRegistered", shown())],
        ),
        of(
            "POST /auth/password/recover",
            "/auth/password/recover",
            &person[..1],
            "https://portal.test/auth/login?sent",
            &[("PasswordReset", json!({ "Email": "dev@acme.test" }))],
        ),
        of(
            "POST /auth/password/new",
            "/auth/password/new",
            &person[..1],
            "/auth/login",
            &[("PasswordReset", json!({ "Email": "dev@acme.test" }))],
        ),
        of(
            "POST /portal/private/apps",
            "/portal/private/apps",
            &[("mode", "create"), ("name", "New App")],
            "/portal/private/apps/3",
            &[("ApplicationRegistered", json!({ "Name": "New App" }))],
        ),
        of(
            "POST /portal/private/cart/provision",
            "/portal/private/cart/provision",
            &in_cart(&[("selected-app", "3")]),
            "/portal/private/cart",
            &[("AccessRequestCreated", json!({ "AppID": 3, "PlanID": 2 }))],
        ),
        of(
            "POST /portal/private/cart/provision",
            "/portal/private/cart/provision",
            &in_cart(&[("app-action", "create"), ("client_name", "New App")]),
            "/portal/private/cart",
            &[
                ("ApplicationRegistered", json!({ "Name": "New App" })),
                ("AccessRequestCreated", json!({ "PlanID": 2 })),
            ],
        ),
        of(
            "POST /portal/private/organisation",
            "/portal/private/organisation",
            &[("name", "ACME")],
            "/portal/private/dashboard",
            &[("OrganisationRequestCreated", json!({ "Name": "ACME" }))],
        ),
    ];
    for (operation, path, name, status) in [
        ("POST, PUT /admin/users/{id}/activate", "users/7/activate", "UserAccountActivated", "active"),
        ("POST, PUT /admin/admin_users/{id}/activate", "admin_users/7/activate", "UserAccountActivated", "active"),
        ("POST, PUT /admin/users/{id}/deactivate", "users/7/deactivate", "UserAccountDeactivated", "inactive"),
        (
            "POST, PUT /admin/admin_users/{id}/deactivate",
            "admin_users/7/deactivate",
            "UserAccountDeactivated",
            "inactive",
        ),
        (
            "POST, PUT /admin/access_requests/{id}/approve",
            "access_requests/7/approve",
            "AccessRequestApproved",
            "approved",
        ),
        (
            "POST, PUT /admin/access_requests/{id}/reject",
            "access_requests/7/reject",
            "AccessRequestRejected",
            "rejected",
        ),
    ] {
        let expected = [(name, id_and(status))];
        cases.push(of(operation, &format!("/admin/{path}"), &[("_method", "put")], "/admin/users", &expected));
        let json = of(operation, &format!("/admin/{path}"), &[], "", &expected);
        cases.push(Case { method: "PUT", status: 200, location: None, response: Body::Json(json!({})), ..json });
    }
    for (operation, path) in
        [("POST /admin/organisations", "organisations"), ("POST /admin/organisations/new", "organisations/new")]
    {
        let expected = [("OrganisationRegistered", json!({ "Name": "O" }))];
        cases.push(of(
            operation,
            &format!("/admin/{path}"),
            &[("QorResource.Name", "O")],
            "/admin/organisations/8",
            &expected,
        ));
        cases.push(of(
            operation,
            &format!("/admin/{path}"),
            &[],
            "/admin/organisations",
            &[("OrganisationRegistered", json!({}))],
        ));
    }
    cases
}
