//! Handles responses, with the data that their requests have left.

use super::Engine;
use super::exchanges::Phase;
use crate::access::{Access, Answer, Api, Caller, Counters, Passing, Request, RequestOutcome, Usages};
use crate::base::UnixMillis;
use crate::host::{Headers, Host, Stream, StreamId};
use crate::notify::{Incident, Scene};
use crate::observe::{UpstreamVerdict, Watched, upstream};

/// The data of a request that its response needs.
#[derive(Debug)]
pub(super) struct Followup {
    /// The limits that the response shows.
    pub(super) usages: Usages,
    /// The data for the next pass of the same request.
    pub(super) passing: Passing,
    /// The header that shows whether the response may be an event.
    pub(super) observed: Option<StatusHeader>,
    /// A watched exchange, which may be a management event.
    pub(super) watched: Option<Box<Watched>>,
    /// The outcome that the request would have had if refusals were not only observed.
    pub(super) would_refuse: Option<RequestOutcome>,
}

/// The header of a response whose request would have been refused, with the outcome.
const WOULD_REFUSE: &str = "x-tollbell-would-refuse";

impl Followup {
    /// The value of the stream's property for the next pass of the request.
    pub(super) fn into_pass(self) -> Option<Vec<u8>> {
        self.passing.into_pass(&self.usages).encode()
    }

    /// True if there is any data to keep.
    pub(super) fn is_needed(&self) -> bool {
        let Passing { earlier, key, version, .. } = &self.passing;
        let passes_on = !self.usages.is_empty() || key.is_some() || earlier.is_some() || version.is_some();
        passes_on || self.observed.is_some() || self.watched.is_some() || self.would_refuse.is_some()
    }
}

/// The header of a response that shows how the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusHeader {
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

    fn name(self) -> &'static str {
        match self {
            StatusHeader::Http => ":status",
            StatusHeader::Grpc => "grpc-status",
        }
    }

    /// The HTTP status for its value, by Envoy's own translation. For gRPC clients, Envoy's own answers have the status
    /// 200.
    fn status(self, value: u16) -> u16 {
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

impl<C: Counters> Engine<C> {
    /// Response headers: shows the limits that the request was counted on, and observes refusals and the upstream.
    /// `is_end` means that no body follows.
    pub fn on_response_headers(&mut self, host: &impl Host, stream: &impl Stream, is_end: bool) {
        let Some(exchange) = self.exchanges.get(stream.id()) else { return };
        if let Phase::Passing = exchange.phase {
            exchange.phase = Phase::Answered;
        }
        let Some(followup) = &exchange.followup else { return };
        show_limits(&self.access, host, stream, followup);
        if let Some(outcome) = followup.would_refuse {
            stream.set_response_header(WOULD_REFUSE, outcome.label());
        }
        if followup.observed.is_none() && followup.watched.is_none() {
            exchange.followup = None;
        } else {
            self.look_at_response(host, stream, is_end);
        }
    }

    #[cold]
    #[inline(never)]
    fn look_at_response(&mut self, host: &impl Host, stream: &impl Stream, is_end: bool) {
        let Some(exchange) = self.exchanges.get(stream.id()) else { return };
        let Some(followup) = exchange.followup.take() else { return };
        // The headers may be long, and the stream may last.
        let headers = std::mem::take(&mut exchange.headers);
        if let Some(header) = followup.observed {
            self.observe(host, stream, &followup, header, &headers);
        }
        if followup.watched.is_none() {
            return;
        }
        let Some(exchange) = self.exchanges.get(stream.id()) else { return };
        exchange.followup = Some(followup);
        if let Some(watched) = exchange.watched() {
            watched.on_response(&stream.response_headers().pairs());
        }
        if is_end {
            self.end_exchange(host, stream.id());
        }
    }

    /// A part of the response's body, of `size` bytes.
    pub fn on_response_body(&mut self, host: &impl Host, stream: &impl Stream, size: usize, is_end: bool) {
        let Some(exchange) = self.exchanges.get(stream.id()) else { return };
        if let Some(collector) = exchange.watched().and_then(|watched| watched.response_body()) {
            collector.push(&stream.response_body(size));
        }
        if is_end {
            self.end_exchange(host, stream.id());
        }
    }

    /// Trailers of the response, which end it.
    pub fn on_response_trailers(&mut self, host: &impl Host, stream: &impl Stream) {
        self.end_exchange(host, stream.id());
    }

    /// The response is complete: sends the management events of the exchange.
    #[cold]
    #[inline(never)]
    fn end_exchange(&mut self, host: &impl Host, stream: StreamId) {
        let followup = self.exchanges.get(stream).and_then(|exchange| exchange.followup.take());
        let Some(watched) = followup.and_then(|followup| followup.watched) else { return };
        let index = watched.api();
        let Some((api, rules)) = self.access.routes.get(index).zip(self.observation.rules(index)) else { return };
        let now = host.now_or_epoch();
        for occurrence in watched.finish(rules) {
            let to = (&self.notifications, &self.directory);
            self.notifier.notify_management(host, to, api, &occurrence, now);
        }
    }

    /// Observes a response that may be an event; `headers` are those of its request.
    fn observe(
        &mut self,
        host: &impl Host,
        stream: &impl Stream,
        followup: &Followup,
        header: StatusHeader,
        headers: &Headers,
    ) {
        let keeps_case = || headers.pairs().iter().any(|(name, _)| name.iter().any(u8::is_ascii_uppercase));
        let value = stream.response_header(header.name(), &keeps_case);
        let number = value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
        if let Some(status) = number.map(|number| header.status(number))
            && self.can_be_event(followup, status)
        {
            let pairs = headers.pairs();
            let request = Request { headers: &pairs, property: &|path| stream.property(path) };
            self.observe_failure(host, &request, followup, status);
        }
    }

    /// True if a response with this status can be an event. This is checked before anything else is read.
    fn can_be_event(&self, followup: &Followup, status: u16) -> bool {
        let index = followup.passing.api;
        self.access.routes.get(index).is_some_and(|api| {
            api.observe_failures && matches!(status, 401 | 403 | 429)
                || api.observe_upstream.is_some() && self.upstreams.minds(index, status)
        })
    }

    /// Makes events of refusals by others and of the upstream's state, for a request that this filter let pass.
    /// `request` is the request before this filter changed anything.
    #[cold]
    #[inline(never)]
    fn observe_failure(&mut self, host: &impl Host, request: &Request<'_>, followup: &Followup, status: u16) {
        let Engine { access, directory, .. } = self;
        let Passing { api: index, earlier, .. } = &followup.passing;
        let Some(api) = access.routes.get(*index) else { return };
        let details = request.text_property("response\0code_details").unwrap_or_default();
        // Two placements of this filter may share a stream. The other one has reported its own refusals.
        if details.starts_with(Answer::DETAILS_PREFIX) {
            return;
        }
        let now = host.now_or_epoch();
        let mut incidents = Vec::new();
        if api.observe_failures {
            incidents.extend(Incident::of_status(status, upstream::reason(&details)));
        }
        if api.observe_upstream.is_some() {
            let flags = (request.property)("response\0flags")
                .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
            let verdict = flags.and_then(|flags| UpstreamVerdict::of(flags, &details));
            let judged = verdict.map(|verdict| self.upstreams.judge(host, (*index, api), verdict, now));
            match judged.unwrap_or(Ok(Vec::new())) {
                Ok(kinds) => incidents.extend(kinds.into_iter().map(|kind| Incident::Verdict { kind, status })),
                Err(error) => log::error!("{}: no one is notified of its upstream: {error}", api.id),
            }
        }
        if incidents.is_empty() {
            return;
        }
        let caller = Caller::identify(access, directory, api, &mut self.known_keys, request, earlier.as_deref());
        let scene = Scene { api, request, caller: &caller, is_observed: false };
        self.notifier.notify_all(host, &self.notifications, &scene, &incidents, now);
    }
}

/// The time is requested only if a header shows it.
fn show_limits(access: &Access, host: &impl Host, stream: &impl Stream, followup: &Followup) {
    let form = access.limit_headers;
    if !followup.usages.is_empty() {
        let now = if form.shows_time() { host.now_or_epoch() } else { UnixMillis::default() };
        form.show(&followup.usages, now, |name, value| stream.set_response_header(name, value));
    }
}
