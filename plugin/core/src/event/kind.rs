//! The types of events, one row each.

use std::fmt;

use enum_map::Enum;
use strum::{EnumCount, EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

use crate::host::{Label, Metric};
use ManagementAction::{Add, Approved, Delete, Deleted, Submitted, Update, Updated};

/// The source of an event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A client's request was refused. Clients can repeat these events without limit.
    Request,
    /// The use of a quota crossed a threshold of a monitor.
    Threshold,
    /// The proxy's verdict on an upstream changed.
    Upstream,
    /// Management events of the dashboard, which an organisation's `event_options` name. A payload has `event` and
    /// `data`.
    Dashboard,
    /// Events of the Enterprise Developer Portal. A payload has `Event`, `Message` and `Timestamp`.
    Portal,
}

macro_rules! event_types {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal $(| $alias:literal)?, $family:ident $(, $actions:expr)?;)*) => {
        /// The types of events that tollbell fires. The names are Tyk's.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumCount, EnumIter, EnumString, IntoStaticStr,
        )]
        pub enum EventKind {
            $($(#[doc = $doc])* #[strum(to_string = $name $(, serialize = $alias)?)] $kind,)*
        }

        impl EventKind {
            /// The source of this type.
            pub fn family(self) -> Family {
                match self { $(EventKind::$kind => Family::$family,)* }
            }

            /// The actions of this type; empty if the event's name includes the action.
            ///
            /// Tyk's documentation has `submitted`. Code of Tyk's that receives events has `add`, `update` and `delete`
            /// of APIs. The other actions follow by analogy.
            pub fn actions(self) -> &'static [ManagementAction] {
                match self { $($(EventKind::$kind => $actions,)?)* _ => &[] }
            }
        }
    };
}

// Tyk's documentation spells these names with an s in its samples and with a z in its list.
event_types! {
    /// A request carried a key that is unknown or has no right to the API.
    AuthFailure = "AuthFailure", Request;
    /// A request carried a key that has expired or is inactive.
    KeyExpired = "KeyExpired", Request;
    /// A key's quota refused a request.
    QuotaExceeded = "QuotaExceeded", Request;
    /// An organisation's quota refused a request.
    OrgQuotaExceeded = "OrgQuotaExceeded", Request;
    /// The use of a quota crossed a monitor's threshold.
    TriggerExceeded = "TriggerExceeded", Threshold;
    /// The window of a quota ended in which a threshold was reported. The first request of the next window says so.
    QuotaRenewed = "QuotaRenewed", Threshold;
    /// At the present rate, a quota will be used up before its window ends.
    QuotaForecast = "QuotaForecast", Threshold;
    /// A key's or an API's rate refused a request, or another filter or the upstream answered 429.
    RatelimitExceeded = "RatelimitExceeded", Request;
    /// An organisation's rate refused a request.
    OrgRateLimitExceeded = "OrgRateLimitExceeded", Request;
    /// The proxy had no healthy host to send a request to.
    HostDown = "HostDown", Upstream;
    /// A host answers again.
    HostUp = "HostUp", Upstream;
    /// The proxy's circuit breaker refused a request.
    BreakerTripped = "BreakerTripped", Upstream;
    /// The proxy's circuit breaker lets requests pass again.
    BreakerReset = "BreakerReset", Upstream;
    /// Either `BreakerTripped` or `BreakerReset` happened.
    BreakerTriggered = "BreakerTriggered", Upstream;
    /// A request named no version, a version that does not exist, or one that has ended.
    VersionFailure = "VersionFailure", Request;
    /// An API was created, updated or deleted.
    ApiEvent = "api_event", Dashboard, &[Add, Update, Delete];
    /// A key was created, updated or deleted.
    KeyEvent = "key_event", Dashboard, &[Add, Update, Delete];
    /// The same as `KeyEvent`, where the operation named the key by its hash.
    HashedKeyEvent = "hashed_key_event", Dashboard, &[Add, Update, Delete];
    /// A portal key request was created or updated.
    KeyRequestEvent = "key_request_event", Dashboard, &[Submitted, Approved, Updated, Deleted];
    /// A dashboard user's password was reset.
    PasswordResetEvent = "password_reset_event", Dashboard;
    /// A portal developer's password was reset.
    PortalPasswordResetEvent = "portal_password_reset_event", Dashboard;
    /// A portal user was created.
    UserRegistered = "UserRegistered", Portal;
    /// A portal user was activated.
    UserAccountActivated = "UserAccountActivated", Portal;
    /// A portal user was deactivated.
    UserAccountDeactivated = "UserAccountDeactivated", Portal;
    /// A portal user asked for a new password.
    PasswordReset = "PasswordReset", Portal;
    /// An application was created.
    ApplicationRegistered = "ApplicationRegistered", Portal;
    /// A credential was created.
    CredentialRegistered = "CredentialRegistered", Portal;
    /// Access to products was requested.
    AccessRequestCreated = "AccessRequestCreated", Portal;
    /// Access to products was granted.
    AccessRequestApproved = "AccessRequestApproved", Portal;
    /// Access to products was refused.
    AccessRequestRejected = "AccessRequestRejected", Portal;
    /// An organisation was created.
    OrganisationRegistered = "OrganisationRegistered" | "OrganizationRegistered", Portal;
    /// A developer requested an organisation.
    OrganisationRequestCreated = "OrganisationRequestCreated" | "OrganizationRequestCreated", Portal;
    /// The request for an organisation was granted.
    OrganisationRequestApproved = "OrganisationRequestApproved" | "OrganizationRequestApproved", Portal;
    /// The request for an organisation was refused.
    OrganisationRequestRejected = "OrganisationRequestRejected" | "OrganizationRequestRejected", Portal;
}

impl EventKind {
    /// Tyk's other event names. Handlers for them are accepted and never called.
    pub const NEVER_FIRED: [&str; 12] = [
        "ApiUpdated",
        "CertificateExpired",
        "CertificateExpiringSoon",
        "OAuth2ExchangeFailed",
        "OAuth2ExchangeSucceeded",
        "OAuth2ScopeCheckFailed",
        "RateLimitSmoothingDown",
        "RateLimitSmoothingUp",
        "TokenCreated",
        "TokenDeleted",
        "TokenUpdated",
        "UpstreamOAuthError",
    ];

    /// All types, in the order of the table.
    pub fn all() -> impl Iterator<Item = EventKind> + Clone {
        EventKind::iter()
    }

    /// The types that requests, quotas and upstreams cause.
    pub fn of_gateway() -> impl Iterator<Item = EventKind> + Clone {
        EventKind::iter().filter(|kind| !kind.is_management())
    }

    /// The management events: those of an admin API or a developer portal.
    pub fn of_management() -> impl Iterator<Item = EventKind> + Clone {
        EventKind::iter().filter(|kind| kind.is_management())
    }

    /// The name in configurations, messages and metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The metric that counts events of this type.
    pub fn metric(self) -> Metric {
        Metric::Events(Label { place: self as usize, text: self.name() })
    }

    /// The type with this name; `None` if tollbell never fires it.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The management event type with this name.
    pub fn of_management_name(name: &str) -> Option<Self> {
        EventKind::from_name(name).filter(|kind| kind.is_management())
    }

    /// True for the proxy's verdicts on an upstream.
    pub fn is_of_upstream(self) -> bool {
        self.family() == Family::Upstream
    }

    /// True for events of an admin API or a developer portal.
    pub fn is_management(self) -> bool {
        matches!(self.family(), Family::Dashboard | Family::Portal)
    }

    /// True for events of the Enterprise Developer Portal.
    pub fn is_portal(self) -> bool {
        self.family() == Family::Portal
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened to an API, a key or a key request: the word after the dot in a payload's `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ManagementAction {
    /// An API or a key was created.
    Add,
    /// An API or a key was changed.
    Update,
    /// An API or a key was deleted.
    Delete,
    /// A key request was created.
    Submitted,
    /// A key request was granted.
    Approved,
    /// A key request was changed.
    Updated,
    /// A key request was deleted. Declining one deletes it, too.
    Deleted,
}

impl ManagementAction {
    pub fn all() -> impl Iterator<Item = ManagementAction> {
        ManagementAction::iter()
    }

    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn each_type_has_a_name_of_its_own() {
        let names: BTreeSet<_> = EventKind::all().map(EventKind::name).chain(EventKind::NEVER_FIRED).collect();
        assert_eq!(names.len(), EventKind::COUNT + EventKind::NEVER_FIRED.len());
        for (place, kind) in EventKind::all().enumerate() {
            assert_eq!((kind as usize, kind.into_usize()), (place, place));
            assert_eq!(EventKind::from_name(kind.name()), Some(kind));
        }
        for (spelled, kind) in [
            ("OrganizationRequestCreated", Some(EventKind::OrganisationRequestCreated)),
            ("Keyexpired", None),
            ("", None),
        ] {
            assert_eq!(EventKind::from_name(spelled), kind);
        }
    }

    #[test]
    fn each_action_belongs_to_a_type() {
        for action in ManagementAction::all() {
            assert_eq!(ManagementAction::from_name(action.name()), Some(action));
            assert!(EventKind::all().any(|kind| kind.actions().contains(&action)), "{action:?}");
        }
    }
}
