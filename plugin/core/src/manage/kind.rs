//! The names of management events.

use std::fmt;

/// A management event. Names are Tyk's: of an organisation's `event_options`, and of the portal's webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An API was created, updated or deleted.
    ApiEvent,
    /// A key was created, updated or deleted.
    KeyEvent,
    /// The same, where the operation named the key by its hash.
    HashedKeyEvent,
    /// A portal key request was created or updated.
    KeyRequestEvent,
    /// A dashboard user's password was reset.
    PasswordResetEvent,
    /// A portal developer's password was reset.
    PortalPasswordResetEvent,
    /// A portal user was created.
    UserRegistered,
    /// A portal user was activated.
    UserAccountActivated,
    /// A portal user was deactivated.
    UserAccountDeactivated,
    /// A portal user asked for a new password.
    PasswordReset,
    /// An application was created.
    ApplicationRegistered,
    /// A credential was created.
    CredentialRegistered,
    /// Access to products was asked for.
    AccessRequestCreated,
    /// It was granted.
    AccessRequestApproved,
    /// It was refused.
    AccessRequestRejected,
    /// An organisation was created.
    OrganisationRegistered,
    /// A developer asked for an organisation.
    OrganisationRequestCreated,
    /// It was granted.
    OrganisationRequestApproved,
    /// It was refused.
    OrganisationRequestRejected,
}

impl Kind {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Kind; 19] = [
        Kind::ApiEvent,
        Kind::KeyEvent,
        Kind::HashedKeyEvent,
        Kind::KeyRequestEvent,
        Kind::PasswordResetEvent,
        Kind::PortalPasswordResetEvent,
        Kind::UserRegistered,
        Kind::UserAccountActivated,
        Kind::UserAccountDeactivated,
        Kind::PasswordReset,
        Kind::ApplicationRegistered,
        Kind::CredentialRegistered,
        Kind::AccessRequestCreated,
        Kind::AccessRequestApproved,
        Kind::AccessRequestRejected,
        Kind::OrganisationRegistered,
        Kind::OrganisationRequestCreated,
        Kind::OrganisationRequestApproved,
        Kind::OrganisationRequestRejected,
    ];

    /// The name in payloads, where Organisation has an s, as in the samples of Tyk's documentation.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ApiEvent => "api_event",
            Kind::KeyEvent => "key_event",
            Kind::HashedKeyEvent => "hashed_key_event",
            Kind::KeyRequestEvent => "key_request_event",
            Kind::PasswordResetEvent => "password_reset_event",
            Kind::PortalPasswordResetEvent => "portal_password_reset_event",
            Kind::UserRegistered => "UserRegistered",
            Kind::UserAccountActivated => "UserAccountActivated",
            Kind::UserAccountDeactivated => "UserAccountDeactivated",
            Kind::PasswordReset => "PasswordReset",
            Kind::ApplicationRegistered => "ApplicationRegistered",
            Kind::CredentialRegistered => "CredentialRegistered",
            Kind::AccessRequestCreated => "AccessRequestCreated",
            Kind::AccessRequestApproved => "AccessRequestApproved",
            Kind::AccessRequestRejected => "AccessRequestRejected",
            Kind::OrganisationRegistered => "OrganisationRegistered",
            Kind::OrganisationRequestCreated => "OrganisationRequestCreated",
            Kind::OrganisationRequestApproved => "OrganisationRequestApproved",
            Kind::OrganisationRequestRejected => "OrganisationRequestRejected",
        }
    }

    /// The kind of that name, in either spelling: Organisation, or Organization as in the documentation's list.
    pub fn from_name(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| {
            kind.name() == name
                || name
                    .strip_prefix("Organization")
                    .is_some_and(|rest| kind.name().strip_prefix("Organisation") == Some(rest))
        })
    }

    /// Whether it is one of the thirteen of the Enterprise Developer Portal, whose payload is `Event`, `Message`,
    /// `Timestamp`; the others are the dashboard's, with `event` and `data`.
    pub fn is_portal(self) -> bool {
        self >= Kind::UserRegistered
    }

    /// The kinds that are the dashboard's, which an organisation's `event_options` name.
    pub fn of_dashboard() -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| !kind.is_portal())
    }

    /// What can have happened; none where the name says it all.
    ///
    /// `submitted` stands in Tyk's documentation, `add`, `update` and `delete` of APIs in code of Tyk's that receives
    /// them; the rest is by analogy.
    pub fn actions(self) -> &'static [Action] {
        match self {
            Kind::ApiEvent | Kind::KeyEvent | Kind::HashedKeyEvent => &[Action::Add, Action::Update, Action::Delete],
            Kind::KeyRequestEvent => &[Action::Submitted, Action::Approved, Action::Updated, Action::Deleted],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened to an API, a key or a key request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// An API or a key is new.
    Add,
    /// An API or a key is changed.
    Update,
    /// An API or a key is gone.
    Delete,
    /// A key request is new.
    Submitted,
    /// A key request was granted.
    Approved,
    /// A key request is changed.
    Updated,
    /// A key request is gone, which is also how one is declined.
    Deleted,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 7] = [
        Action::Add,
        Action::Update,
        Action::Delete,
        Action::Submitted,
        Action::Approved,
        Action::Updated,
        Action::Deleted,
    ];

    /// The word behind the point of a payload's `event`.
    pub fn name(self) -> &'static str {
        match self {
            Action::Add => "add",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Submitted => "submitted",
            Action::Approved => "approved",
            Action::Updated => "updated",
            Action::Deleted => "deleted",
        }
    }

    /// The action of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}
