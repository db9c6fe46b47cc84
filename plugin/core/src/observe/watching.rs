//! An exchange that a rule watches while it passes. The exchange is not delayed.

use crate::access::{ApiIndex, Readings, Request};
use crate::host::is_header;
use crate::observe::body::{Body, BodyPool, Collector};
use crate::observe::{Exchange, Occurrence, Rules};

/// The state of a watched exchange.
#[derive(Debug)]
pub struct Watched {
    api: ApiIndex,
    method: String,
    path: String,
    query: String,
    request_type: Option<String>,
    request: Option<Collector>,
    needs_response: bool,
    limit: usize,
    pool: BodyPool,
    answer: Option<Answered>,
}

#[derive(Debug)]
struct Answered {
    status: u16,
    location: Option<String>,
    content_type: Option<String>,
    body: Option<Collector>,
}

impl Watched {
    /// Starts watching a request if a rule is for it, by the first reading of its path.
    pub fn begin(
        api: ApiIndex,
        rules: &Rules,
        request: &Request<'_>,
        readings: &Readings<'_>,
        pool: &BodyPool,
    ) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = |name: &str| request.header(name).map(text);
        let method = header(":method").unwrap_or_default();
        let query = text(request.query().unwrap_or_default());
        let (path, watch) = readings.encoded().iter().find_map(|reading| {
            let path = text(&reading.path);
            let watch = rules.watch(&method, &path)?;
            Some((path, watch))
        })?;
        let request_type = header("content-type");
        let limit = rules.max_body_bytes();
        let encoding = header("content-encoding");
        let collector = || Collector::new(request_type.as_deref(), encoding.as_deref(), limit, pool);
        let request = watch.needs_request.then(collector);
        let pool = pool.clone();
        let needs_response = watch.needs_response;
        Some(Watched { api, method, path, query, request_type, request, needs_response, limit, pool, answer: None })
    }

    /// The API of the exchange.
    pub fn api(&self) -> ApiIndex {
        self.api
    }

    /// The collector of the request's body, if more of the body is useful.
    pub fn request_body(&mut self) -> Option<&mut Collector> {
        self.request.as_mut().filter(|collector| collector.wants_more())
    }

    /// The collector of the response's body, if more of the body is useful.
    pub fn response_body(&mut self) -> Option<&mut Collector> {
        self.answer.as_mut()?.body.as_mut().filter(|collector| collector.wants_more())
    }

    /// Called at the response's headers.
    pub fn on_response(&mut self, headers: &[(&[u8], &[u8])]) {
        let header = |name: &str| {
            let value = headers.iter().find(|(known, _)| is_header(known, name)).map(|(_, value)| *value)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let content_type = header("content-type");
        let encoding = header("content-encoding");
        let body = || Collector::new(content_type.as_deref(), encoding.as_deref(), self.limit, &self.pool);
        self.answer = Some(Answered {
            status: header(":status").and_then(|status| status.parse().ok()).unwrap_or_default(),
            location: header("location"),
            body: self.needs_response.then(body),
            content_type,
        });
    }

    /// Returns the events of the exchange, which has ended; none if no response came.
    pub fn finish(self, rules: &Rules) -> Vec<Occurrence> {
        let Some(answer) = self.answer else { return Vec::new() };
        let request = self.request.map(Collector::finish).unwrap_or_default();
        let response = answer.body.map(Collector::finish).unwrap_or_default();
        for (body, which) in [(&request, "request"), (&response, "response")] {
            if let Body::Unreadable(why) = body {
                log::warn!("{} {}: its {which} is not readable: {why}", self.method, rules.shown_path());
            }
        }
        rules.occurrences(&Exchange {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            request_type: self.request_type.as_deref(),
            request: request.view(),
            status: answer.status,
            location: answer.location.as_deref(),
            response_type: answer.content_type.as_deref(),
            response: response.view(),
        })
    }
}
