//! What the built-in messages say of each type of event, in one place.

use crate::event::{EventKind, Management};

/// The severity of an event, in the words of PagerDuty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

/// The severity of a type, and its headline. A headline of a management event with an action is a noun.
pub(super) fn of(kind: EventKind) -> (Severity, &'static str) {
    use Severity::{Critical, Error, Info, Warning};
    match kind {
        EventKind::AuthFailure => (Warning, "Access refused"),
        EventKind::KeyExpired => (Warning, "Expired or inactive key used"),
        EventKind::QuotaExceeded => (Error, "Quota of a key used up"),
        EventKind::OrgQuotaExceeded => (Critical, "Quota of an organisation used up"),
        EventKind::TriggerExceeded => (Warning, "Quota threshold reached"),
        EventKind::QuotaForecast => (Warning, "Quota will be used up before its window ends"),
        EventKind::QuotaRenewed => (Info, "Quota renewed"),
        EventKind::RatelimitExceeded => (Warning, "Rate limit exceeded"),
        EventKind::OrgRateLimitExceeded => (Error, "Rate limit of an organisation exceeded"),
        EventKind::HostDown => (Critical, "Upstream is down"),
        EventKind::HostUp => (Info, "Upstream is up again"),
        EventKind::BreakerTripped => (Error, "Circuit breaker has tripped"),
        EventKind::BreakerReset => (Info, "Circuit breaker has reset"),
        EventKind::BreakerTriggered => (Error, "Circuit breaker has changed"),
        EventKind::VersionFailure => (Warning, "Version refused"),
        EventKind::ApiEvent => (Info, "API"),
        EventKind::KeyEvent | EventKind::HashedKeyEvent => (Info, "Key"),
        EventKind::KeyRequestEvent => (Info, "Key request"),
        EventKind::PasswordResetEvent => (Info, "Password of a dashboard user reset"),
        EventKind::PortalPasswordResetEvent => (Info, "Password of a developer reset"),
        EventKind::UserRegistered => (Info, "Portal user registered"),
        EventKind::UserAccountActivated => (Info, "Portal user activated"),
        EventKind::UserAccountDeactivated => (Info, "Portal user deactivated"),
        EventKind::PasswordReset => (Info, "Portal user asked for a new password"),
        EventKind::ApplicationRegistered => (Info, "Application created"),
        EventKind::CredentialRegistered => (Info, "Credential created"),
        EventKind::AccessRequestCreated => (Info, "Access requested"),
        EventKind::AccessRequestApproved => (Info, "Access granted"),
        EventKind::AccessRequestRejected => (Info, "Access declined"),
        EventKind::OrganisationRegistered => (Info, "Organisation created"),
        EventKind::OrganisationRequestCreated => (Info, "Organisation requested"),
        EventKind::OrganisationRequestApproved => (Info, "Organisation granted"),
        EventKind::OrganisationRequestRejected => (Info, "Organisation declined"),
    }
}

/// What happened, after the headline of a management event.
pub(super) fn done(management: &Management) -> &'static str {
    match management.action {
        "add" => "created",
        "update" => "changed",
        "delete" => "deleted",
        action => action,
    }
}

/// True if an event ends a problem that another event has reported. `circuit_event` tells the two meanings of
/// `BreakerTriggered` apart.
pub(super) fn resolves(kind: EventKind, circuit_event: &str) -> bool {
    match kind {
        EventKind::QuotaRenewed | EventKind::HostUp | EventKind::BreakerReset => true,
        EventKind::BreakerTriggered => circuit_event == "1",
        _ => false,
    }
}
