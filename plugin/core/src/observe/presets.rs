//! The operations of Tyk's own applications that are management events.
//!
//! The gateway's operations come from Tyk's code. Those of the dashboard and the portals, which are closed source, come
//! from their OpenAPI documents and documentation. Each upstream chooses its preset, because the portal and the
//! dashboard share paths. A row is matched against the path below the API's `listen_path` and against the whole path,
//! so it does not matter whether the proxy rewrites paths. A slash at the end does not count.

mod dashboard;
mod gateway;
mod portal;

use serde_json::{Map, Value};

use super::exchange::Seen;
use super::occurrence::Occurrence;

/// One of Tyk's applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// The gateway's API, with or without `/tyk` in front.
    Gateway,
    /// The dashboard's API below `/api`, which also serves the classic portal.
    Dashboard,
    /// The Enterprise Developer Portal: its admin API below `/portal-api`, and its pages.
    Portal,
}

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 3] = [Preset::Gateway, Preset::Dashboard, Preset::Portal];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Gateway => "tyk-gateway",
            Preset::Dashboard => "tyk-dashboard",
            Preset::Portal => "tyk-portal",
        }
    }

    /// The preset with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name)
    }

    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            Preset::Gateway => gateway::ROWS,
            Preset::Dashboard => dashboard::ROWS,
            Preset::Portal => portal::ROWS,
        }
    }

    /// The paths that are compared with a row.
    pub(super) fn candidates<'p>(self, path: &'p str, relative: Option<&'p str>) -> [Option<&'p str>; 3] {
        let trimmed = |path: &'p str| path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let (path, relative) = (trimmed(path), relative.map(trimmed));
        let below_tyk = relative.and_then(|path| path.strip_prefix("/tyk")).filter(|_| self == Preset::Gateway);
        [relative, below_tyk, (relative != Some(path)).then_some(path)]
    }
}

/// The bodies that a row needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) request: bool,
    pub(super) response: bool,
}

const REQUEST: Needs = Needs { request: true, response: false };
const RESPONSE: Needs = Needs { request: false, response: true };
const BOTH: Needs = Needs { request: true, response: true };
const NEITHER: Needs = Needs { request: false, response: false };

/// A known operation.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) is_event: bool,
    pub(super) methods: &'static [&'static str],
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) succeeded: fn(&Seen<'_>) -> bool,
    pub(super) make: fn(&Seen<'_>, &mut Vec<Occurrence>),
}

impl Row {
    const fn new(
        methods: &'static [&'static str],
        path: &'static str,
        needs: Needs,
        succeeded: fn(&Seen<'_>) -> bool,
        make: fn(&Seen<'_>, &mut Vec<Occurrence>),
    ) -> Self {
        Row { is_event: true, methods, path, needs, succeeded, make }
    }

    /// A path that is not a management event, although a more general path is.
    const fn none(methods: &'static [&'static str], path: &'static str) -> Self {
        Row { is_event: false, methods, path, needs: NEITHER, succeeded: |_| false, make: |_, _| {} }
    }

    /// The operation in the form of the table of fields, such as `PUT /keys/{name}`.
    #[cfg(test)]
    pub(super) fn operation(&self) -> String {
        format!("{} {}", self.methods.join(", "), self.path)
    }
}

/// An object of the members that have a value.
fn object<const N: usize>(mut members: [(&str, Option<Value>); N]) -> Value {
    taken(&mut members)
}

/// The part of `object` that is compiled once for every number of members.
fn taken(members: &mut [(&str, Option<Value>)]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        if let Some(value) = value.take() {
            object.insert((*name).to_owned(), value);
        }
    }
    Value::Object(object)
}

fn text(text: &str) -> Option<Value> {
    Some(text).filter(|text| !text.is_empty()).map(Value::from)
}
