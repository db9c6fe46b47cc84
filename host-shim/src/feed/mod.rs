//! One worker on the caller's thread, for many requests in a row. The caller moves the clock. Nothing is kept of a
//! request, so the number of requests does not matter.
//!
//! A request has no body. Callouts are answered at once by a closure, at the time of the event that caused them.

mod exchange;
mod network;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};

use crate::base::{Headers, LogLevel, lock};
use crate::config::model::Bootstrap;
use crate::gateway::{Request, Response};
use crate::router::{self, Site, paths};
use crate::state::clock::Clock;
use crate::state::logs::{LogLine, Logs};
use crate::state::{Host, Limits, QueueReady};
use crate::traffic::{Info, Network, StreamData};
use crate::worker::{Modules, Program, Worker};
use exchange::FedExchange;
use network::FedNetwork;

pub use crate::traffic::flags::response_flags;

/// The number of the only worker, as in Envoy, where the main thread is 0.
const WORKER: usize = 1;

/// The settings with which a feed starts.
pub struct FeedSettings {
    /// The configuration.
    pub bootstrap: Bootstrap,
    /// The source of the modules that it names.
    pub modules: Modules,
    /// The index of the listener that gets the requests.
    pub listener: usize,
    /// The time at the start, in nanoseconds since 1970.
    pub start: u64,
    /// The lowest level that modules log.
    pub log_level: LogLevel,
    /// Limits of each VM.
    pub limits: Limits,
}

/// A request and the response that its upstream gave.
#[derive(Clone, Debug)]
pub struct FedRequest {
    /// The headers, with the pseudo-headers.
    pub headers: Headers,
    /// The address of the client.
    pub client: SocketAddr,
    /// The status of the response if the filters let the request pass.
    pub status: u16,
    /// `response.code_details` of that response, if the gateway made it itself.
    pub details: Option<String>,
    /// `response.flags` of that response, as bits.
    pub flags: u64,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The filters let it pass.
    Passed {
        /// The headers of the response, as the filters have changed them.
        response: Headers,
    },
    /// A filter, or the router, answered it.
    Answered {
        /// The status.
        status: u16,
        /// `response.code_details`.
        details: String,
    },
    /// A filter held it, and waits for something that does not come.
    Held,
}

/// A worker with its VMs, for requests in a row.
pub struct Feed {
    host: Arc<Host>,
    program: Arc<Program>,
    site: Arc<Site>,
    listener: usize,
    worker: Rc<Worker>,
    network: Rc<FedNetwork>,
    ready: Arc<Mutex<VecDeque<QueueReady>>>,
}

impl Feed {
    /// Starts the plugins of a configuration. `answer` gets each callout and its time.
    ///
    /// # Errors
    /// A module does not load, or refuses its configuration. The error contains the module's log.
    pub fn start(settings: FeedSettings, answer: impl Fn(&Request, u64) -> Response + 'static) -> Result<Self> {
        let FeedSettings { bootstrap, modules, listener, start, log_level, limits } = settings;
        let host = Host::new(Clock::manual_at(start), Logs::kept(log_level), limits);
        let program = Arc::new(Program::load(&bootstrap, &modules)?);
        let site = program.listeners.get(listener).context("the configuration has no listener")?;
        let site = Arc::clone(site);
        let network = Rc::new(FedNetwork::new(&host, &program, Box::new(answer)));
        let worker = Worker::new(&host, WORKER, Rc::clone(&network) as Rc<dyn Network>);
        let ready: Arc<Mutex<VecDeque<QueueReady>>> = Arc::default();
        let inbox = Arc::clone(&ready);
        host.set_mailbox(WORKER, Box::new(move |message| lock(&inbox).push_back(message)));
        let feed = Feed { host, program, site, listener, worker, network, ready };
        feed.worker.configure(&feed.program.plugins).map_err(|error| {
            let lines: Vec<String> = feed.take_logs().into_iter().map(|line| format!("  {}", line.text)).collect();
            if lines.is_empty() { error } else { error.context(format!("the log says\n{}", lines.join("\n"))) }
        })?;
        feed.settle()?;
        Ok(feed)
    }

    /// Returns the state of the process: shared data, statistics, failures.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the time in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.host.clock.now()
    }

    /// Returns the time of the next tick, if a module asked for ticks.
    pub fn next_tick(&self) -> Option<u64> {
        self.worker.next_tick()
    }

    /// Moves the clock to a time. Ticks that are due happen at their times.
    ///
    /// # Errors
    /// There is no end of events.
    pub fn advance_to(&self, time: u64) -> Result<()> {
        while let Some(due) = self.worker.next_tick().filter(|due| *due <= time) {
            self.host.clock.move_to(due);
            self.worker.fire_ticks();
            self.settle()?;
        }
        self.host.clock.move_to(time);
        Ok(())
    }

    /// Moves the clock to a time without ticks, as if the process had been suspended. Those that were due happen once,
    /// at the next [`Feed::advance_to`] or [`Feed::fire_ticks`].
    pub fn skip_to(&self, time: u64) {
        self.host.clock.move_to(time);
    }

    /// Calls the ticks that are due.
    ///
    /// # Errors
    /// There is no end of events.
    pub fn fire_ticks(&self) -> Result<()> {
        self.worker.fire_ticks();
        self.settle()
    }

    /// Removes and returns the lines of the log.
    pub fn take_logs(&self) -> Vec<LogLine> {
        self.host.logs.take()
    }

    /// Sends a request through the filters.
    ///
    /// # Errors
    /// There is no end of events.
    pub fn request(&self, request: FedRequest) -> Result<Passage> {
        let FedRequest { mut headers, client, status, details, flags } = request;
        if headers.get("x-forwarded-proto").is_none() {
            headers.add("x-forwarded-proto", "http");
        }
        let path = headers.get(":path").unwrap_or_default().to_vec();
        let (path, is_refused) = match paths::prepare(&self.site.listener.manager, &path) {
            paths::Prepared::Path(path) => (path, false),
            paths::Prepared::Rejected(path) | paths::Prepared::Redirect(path) => (path, true),
        };
        headers.set_in_place(":path", path);
        let info = Info::new(Arc::clone(&self.site.listener), &self.host.clock, client);
        let mut data = StreamData::new(headers, info);
        self.site.choose(&mut data);
        let exchange = Rc::new(FedExchange::new(&self.site, &self.program));
        let stream = self.worker.begin(self.listener, data, Rc::clone(&exchange) as Rc<dyn crate::worker::Exchange>);
        if is_refused {
            stream.borrow_mut().refuse(router::reply(400, "", "path_normalization_failed", 0), false);
        } else {
            stream.borrow_mut().request_headers(true);
        }
        self.settle()?;
        if exchange.is_forwarded() {
            let mut stream = stream.borrow_mut();
            let shared = stream.data();
            let mut data = shared.borrow_mut();
            data.info.flags |= flags;
            data.info.details = details;
            drop(data);
            stream.response_headers([(":status", status.to_string())].into_iter().collect(), true);
        }
        self.settle()?;
        // The stream ends, whatever the filters wait for.
        let details = stream.borrow().data().borrow().info.details.clone();
        stream.borrow_mut().client_gone();
        self.settle()?;
        Ok(match exchange.take_response() {
            response if exchange.is_forwarded() => Passage::Passed { response: response.unwrap_or_default() },
            Some(response) => {
                let status = response.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
                Passage::Answered { status, details: details.unwrap_or_default() }
            }
            None => Passage::Held,
        })
    }

    /// Handles all events that are due now.
    fn settle(&self) -> Result<()> {
        const ENDLESS: usize = 1_000_000;
        for _ in 0..ENDLESS {
            self.worker.drain();
            if let Some(ready) = lock(&self.ready).pop_front() {
                self.worker.queue_ready(&ready);
            } else if let Some((ticket, outcome)) = self.network.next_answer() {
                self.worker.callout_done(ticket, outcome);
            } else {
                return Ok(());
            }
        }
        bail!("there are still events after the first {ENDLESS}: does the module cause them itself?")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.worker.shut_down_all();
    }
}

#[cfg(test)]
mod tests;
