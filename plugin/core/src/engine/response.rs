//! What a response needs to know of its request, and what it says.

use super::Engine;
use crate::answer::Answer;
use crate::caller::Caller;
use crate::notify::{Occurrence, Scene};
use crate::pass::Passing;
use crate::ports::Host;
use crate::quota::Usages;
use crate::request::Request;
use crate::route::Api;
use crate::units::UnixMillis;
use crate::upstream::{self, Verdict};
use crate::watching::Watched;

/// What a response needs to know of its request.
#[derive(Debug)]
pub struct Followup {
    /// The limits that the response shows.
    pub(super) usages: Usages,
    /// For the next pass of the same request.
    pub(super) passing: Passing,
    /// The header that says whether the response may be an event.
    pub(super) observed: Option<StatusHeader>,
    /// An exchange that may be a management event.
    pub(super) watched: Option<Box<Watched>>,
}

impl Followup {
    /// Whether there is anything to be remembered.
    pub(super) fn is_needed(&self) -> bool {
        let Passing { earlier, key, version, .. } = &self.passing;
        let passes_on = !self.usages.is_empty() || key.is_some() || earlier.is_some() || version.is_some();
        passes_on || self.observed.is_some() || self.watched.is_some()
    }
}

/// The header of a response that says how the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusHeader {
    /// `:status`
    Http,
    /// `grpc-status`
    Grpc,
}

impl StatusHeader {
    /// For an API whose responses may be events.
    pub(super) fn of(api: &Api, request: &Request<'_>) -> Option<Self> {
        if !api.observe_failures && api.observe_upstream.is_none() {
            return None;
        }
        Some(if request.is_grpc() { StatusHeader::Grpc } else { StatusHeader::Http })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            StatusHeader::Http => ":status",
            StatusHeader::Grpc => "grpc-status",
        }
    }

    /// The status that its value stands for, as Envoy itself translates them: to gRPC its own answers are 200.
    pub fn status(self, value: u16) -> u16 {
        match (self, value) {
            (StatusHeader::Http, status) => status,
            (StatusHeader::Grpc, 7) => 403,
            (StatusHeader::Grpc, 8) => 429,
            (StatusHeader::Grpc, 14) => 503,
            (StatusHeader::Grpc, 16) => 401,
            (StatusHeader::Grpc, _) => 200,
        }
    }
}

impl Engine {
    /// The end of a stream to which no response came. Returns what its property is to hold for the next pass of the
    /// request, which may come at once or never.
    pub fn on_cut_off(&mut self, followup: Followup) -> Option<Vec<u8>> {
        self.was_cut_off = true;
        followup.passing.into_pass(&followup.usages).encode()
    }

    /// Response headers: shows what the answer says of the limits that its request was counted on.
    ///
    /// The time is asked for only where a header tells it.
    pub fn show_limits(
        &self,
        followup: &Followup,
        now: impl FnOnce() -> UnixMillis,
        show: impl FnMut(&'static str, &str),
    ) {
        let form = self.config.limit_headers;
        if !followup.usages.is_empty() {
            form.show(&followup.usages, if form.tells_time() { now() } else { UnixMillis::default() }, show);
        }
    }

    /// The exchange that is watched, whose bodies and response headers are to be handed to it as they pass.
    pub fn watched(followup: &mut Followup) -> Option<&mut Watched> {
        followup.watched.as_deref_mut()
    }

    /// The end of the response: what the exchange says of an admin API or a portal.
    #[cold]
    #[inline(never)]
    pub fn on_exchange_end(&mut self, host: &impl Host, followup: &mut Followup, now: UnixMillis) {
        let Some(watched) = followup.watched.take() else { return };
        let config = &self.config;
        let Some((api, rules)) = config.routes.get(watched.api()).and_then(|api| Some((api, api.observe.as_ref()?)))
        else {
            return;
        };
        for occurrence in watched.finish(rules) {
            self.notifier.notify_management(host, config, api, &occurrence, now);
        }
    }

    /// The header of the response that says whether it can be an event; `None` where it is not looked at. Where there is
    /// one, the request's headers are to be kept for [`Engine::on_response`].
    pub fn status_header(followup: &Followup) -> Option<StatusHeader> {
        followup.observed
    }

    /// Whether a response with this status can be an event. To be asked before anything else is read.
    pub fn minds(&self, followup: &Followup, status: u16) -> bool {
        let index = followup.passing.api;
        followup.observed.is_some()
            && self.config.routes.get(index).is_some_and(|api| {
                api.observe_failures && matches!(status, 401 | 403 | 429)
                    || api.observe_upstream.is_some() && self.upstreams.minds(index, status)
            })
    }

    /// Response headers: what others say of a request that this filter let through, as events. `request` is as it came,
    /// before this filter changed anything.
    #[cold]
    #[inline(never)]
    pub fn on_response(
        &mut self,
        host: &impl Host,
        request: &Request<'_>,
        followup: &Followup,
        status: u16,
        now: UnixMillis,
    ) {
        let config = &self.config;
        let Passing { api: index, earlier, .. } = &followup.passing;
        let Some(api) = config.routes.get(*index) else { return };
        let details = request.text_property("response\0code_details").unwrap_or_default();
        // Two placements of this filter may share a stream: what the other refuses, it has told of.
        if details.starts_with(Answer::DETAILS_PREFIX) {
            return;
        }
        let mut occurrences = Vec::new();
        if api.observe_failures {
            occurrences.extend(Occurrence::of_status(status, upstream::reason(&details)));
        }
        if api.observe_upstream.is_some() {
            let flags = (request.property)("response\0flags")
                .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
            let verdict = flags.and_then(|flags| Verdict::of(flags, &details));
            let judged = verdict.map(|verdict| self.upstreams.judge(host, (*index, api), verdict, now));
            match judged.unwrap_or(Ok(Vec::new())) {
                Ok(kinds) => occurrences.extend(kinds.into_iter().map(|kind| Occurrence::Verdict { kind, status })),
                Err(error) => log::error!("{}: nobody is told of its upstream: {error}", api.id),
            }
        }
        if occurrences.is_empty() {
            return;
        }
        let caller = Caller::identify(config, api, &mut self.known_keys, request, earlier.as_deref());
        let scene = Scene { api, request, caller: &caller };
        self.notifier.notify_all(host, config, &scene, &occurrences, now);
    }
}
