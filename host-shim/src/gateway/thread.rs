//! A thread of a simulated gateway: a worker and its open streams.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use super::Shared;
use super::events::Event;
use super::exchange::{AnswerSlot, SimExchange};
use super::message::Request;
use super::network::SimNetwork;
use crate::base::Headers;
use crate::router;
use crate::router::paths::{self, Prepared};
use crate::traffic::{Info, Network, StreamData};
use crate::worker::{Bases, Program, Stream, Worker};

pub(super) const NEVER: u64 = u64::MAX;

/// The details of a request whose path the connection manager refuses.
const DETAILS: &str = "path_normalization_failed";

pub(super) struct SimThread {
    pub(super) worker: Rc<Worker>,
    pub(super) network: Rc<SimNetwork>,
    pub(super) bases: RefCell<Bases>,
    pub(super) streams: RefCell<HashMap<u64, (Rc<RefCell<Stream>>, Rc<SimExchange>)>>,
    shared: Arc<Shared>,
    next_stream: std::cell::Cell<u64>,
}

/// A handle of a thread for other threads.
pub(super) struct ThreadHandle {
    events: mpsc::Sender<(Event, mpsc::Sender<()>)>,
    /// The time of its next tick.
    pub(super) next_tick: Arc<AtomicU64>,
}

impl ThreadHandle {
    /// Starts a thread. It ends when the handle is dropped.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(number: usize, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (events, inbox) = mpsc::channel::<(Event, mpsc::Sender<()>)>();
        let next_tick = Arc::new(AtomicU64::new(NEVER));
        let (shared, tick) = (Arc::clone(shared), Arc::clone(&next_tick));
        let name = if number == 0 { "main".to_owned() } else { format!("worker {number}") };
        std::thread::Builder::new().name(name).spawn(move || {
            let thread = SimThread::new(number, shared);
            while let Ok((event, done)) = inbox.recv() {
                event(&thread);
                thread.worker.drain();
                tick.store(thread.worker.next_tick().unwrap_or(NEVER), Ordering::SeqCst);
                // The caller can have stopped waiting.
                let _ = done.send(());
            }
            thread.worker.shut_down_all();
        })?;
        Ok(ThreadHandle { events, next_tick })
    }

    /// Runs an event, and waits until it is finished. Returns whether the thread is still alive.
    pub(super) fn run(&self, event: Event) -> bool {
        let (done, is_done) = mpsc::channel();
        self.events.send((event, done)).is_ok() && is_done.recv().is_ok()
    }
}

impl SimThread {
    fn new(number: usize, shared: Arc<Shared>) -> Self {
        let network = Rc::new(SimNetwork::new(number, &shared));
        let worker = Worker::new(&shared.host, number, Rc::clone(&network) as Rc<dyn Network>);
        SimThread {
            worker,
            network,
            bases: RefCell::default(),
            streams: RefCell::default(),
            shared,
            next_stream: std::cell::Cell::new(1),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Sends a client's request through the filters.
    pub(super) fn request(&self, request: Request, answer: Arc<AnswerSlot>) {
        let program = self.shared.program();
        let Some(site) = program.listeners.first().cloned() else { return };
        let id = self.next_stream.replace(self.next_stream.get() + 1);
        let mut data = self.stream_data(&program, request.headers.clone());
        site.choose(&mut data);
        let exchange = Rc::new(SimExchange::new(id, self, site, answer));
        let path = data.request_headers.get(":path").unwrap_or_default().to_vec();
        let (path, refusal) = match paths::prepare(&exchange.site.listener.manager, &path) {
            Prepared::Path(path) => (path, None),
            Prepared::Rejected(path) => (path, Some(router::reply(400, "", DETAILS, 0))),
            Prepared::Redirect(path) => {
                let mut reply = router::reply(307, "", DETAILS, 0);
                reply.headers.add("location", &path);
                (path, Some(reply))
            }
        };
        data.request_headers.set_in_place(":path", path);
        exchange.site.choose(&mut data);
        let stream = self.worker.begin(0, data, Rc::clone(&exchange) as Rc<dyn crate::worker::Exchange>);
        self.streams.borrow_mut().insert(id, (Rc::clone(&stream), exchange));
        if let Some(reply) = refusal {
            stream.borrow_mut().refuse(reply, false);
            return;
        }
        let has_trailers = !request.trailers.is_empty();
        let pieces = request.body.len();
        stream.borrow_mut().request_headers(pieces == 0 && !has_trailers);
        self.worker.drain();
        for (number, piece) in request.body.into_iter().enumerate() {
            if stream.borrow().ignores_request() {
                break;
            }
            stream.borrow_mut().request_data(piece, number + 1 == pieces && !has_trailers);
            self.worker.drain();
        }
        if has_trailers && !stream.borrow().ignores_request() {
            stream.borrow_mut().request_trailers(request.trailers);
        }
    }

    fn stream_data(&self, program: &Program, mut headers: Headers) -> StreamData {
        let host = &self.shared.host;
        if headers.get("x-forwarded-proto").is_none() {
            headers.add("x-forwarded-proto", "http");
        }
        if headers.get("x-request-id").is_none() {
            headers.add("x-request-id", self.shared.next_request_id());
        }
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
        let listener = program.listeners.first().map(|site| Arc::clone(&site.listener));
        let listener = listener.unwrap_or_else(|| Arc::clone(&self.shared.empty_listener));
        StreamData::new(headers, Info::new(listener, &host.clock, client))
    }
}
