//! An Envoy configuration with other ports and modules. Only these values of the text change, so both hosts read the
//! same file as the author wrote it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use saphyr_parser::{Event, Parser};

/// The text of a configuration, and the values in it that change.
pub struct Configuration {
    text: Vec<char>,
    scalars: Vec<Scalar>,
}

/// A value that is no list and no map.
struct Scalar {
    /// The keys and indices that lead to it.
    path: Vec<String>,
    value: String,
    start: usize,
    end: usize,
}

/// The ports of one host.
pub(super) struct Ports<'p> {
    /// The ports of the listeners, in their order.
    pub(super) listeners: &'p [u16],
    /// The port of the admin interface.
    pub(super) admin: u16,
    /// The ports of the clusters, in their order.
    pub(super) clusters: &'p [u16],
}

/// A list or map around the current place of the parser.
enum Frame {
    List(usize),
    Map(Option<String>),
}

impl Configuration {
    /// Parses a YAML text.
    ///
    /// # Errors
    /// The text is not YAML.
    pub fn parse(text: &str) -> Result<Self> {
        let mut scalars = Vec::new();
        let mut frames: Vec<Frame> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event?;
            match event {
                Event::Scalar(value, ..) => {
                    if let Some(Frame::Map(key @ None)) = frames.last_mut() {
                        *key = Some(value.into_owned());
                        continue;
                    }
                    let (start, end) = (span.start.index(), span.end.index());
                    scalars.push(Scalar { path: path(&frames), value: value.into_owned(), start, end });
                    after_value(&mut frames);
                }
                Event::Alias(_) => after_value(&mut frames),
                Event::SequenceStart(..) => frames.push(Frame::List(0)),
                Event::MappingStart(..) => frames.push(Frame::Map(None)),
                Event::SequenceEnd | Event::MappingEnd => {
                    frames.pop();
                    after_value(&mut frames);
                }
                _ => {}
            }
        }
        let configuration = Configuration { text: text.chars().collect(), scalars };
        ensure!(
            !configuration.names("listeners").is_empty(),
            "the configuration has no listener with a name or an address"
        );
        Ok(configuration)
    }

    /// The names of the listeners or clusters; an empty name if one has none.
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let indices: BTreeSet<usize> = self.of_kind(kind).map(|(index, _)| index).collect();
        let named = |index: usize| {
            let mut rest = self.of_kind(kind).filter(|(of, _)| *of == index);
            let name =
                rest.find(|(_, scalar)| scalar.path.len() == 4 && scalar.path.last().is_some_and(|key| key == "name"));
            name.map(|(_, scalar)| scalar.value.clone()).unwrap_or_default()
        };
        indices.into_iter().map(named).collect()
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = (usize, &Scalar)> {
        self.scalars.iter().filter_map(move |scalar| match scalar.path.as_slice() {
            [first, of, index, ..] if first == "static_resources" && of == kind => Some((index.parse().ok()?, scalar)),
            _ => None,
        })
    }

    /// The text with these ports on 127.0.0.1, and with another module if there is one.
    ///
    /// # Errors
    /// A listener or cluster has no port here.
    pub(super) fn text(&self, ports: &Ports<'_>, module: Option<&str>) -> Result<String> {
        let mut changes: Vec<(&Scalar, String)> = Vec::new();
        let mut has_admin = false;
        for scalar in &self.scalars {
            let path: Vec<&str> = scalar.path.iter().map(String::as_str).collect();
            let port = match path.as_slice() {
                ["admin", "address", "socket_address", _] => {
                    has_admin = true;
                    Some(ports.admin)
                }
                ["static_resources", "listeners", index, "address", "socket_address", _] => {
                    Some(*ports.listeners.get(index.parse::<usize>()?).context("a listener without a port")?)
                }
                ["static_resources", "clusters", index, "load_assignment", .., "socket_address", _] => {
                    Some(*ports.clusters.get(index.parse::<usize>()?).context("a cluster without a port")?)
                }
                [.., "code", "local", "filename"] => {
                    changes.extend(module.map(|module| (scalar, serde_json::Value::from(module).to_string())));
                    None
                }
                _ => None,
            };
            match (port, path.last()) {
                (Some(port), Some(&"port_value")) => changes.push((scalar, port.to_string())),
                (Some(_), Some(&"address")) => changes.push((scalar, "127.0.0.1".to_owned())),
                _ => {}
            }
        }
        let mut text = self.changed(&changes);
        if !has_admin {
            text += &format!(
                "\nadmin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}\n",
                ports.admin
            );
        }
        Ok(text)
    }

    fn changed(&self, changes: &[(&Scalar, String)]) -> String {
        let mut text = String::new();
        let mut at = 0;
        for (scalar, new) in changes {
            text.extend(self.text.get(at..scalar.start).unwrap_or_default());
            text += new;
            at = scalar.end;
        }
        text.extend(self.text.get(at..).unwrap_or_default());
        text
    }
}

fn path(frames: &[Frame]) -> Vec<String> {
    let part = |frame: &Frame| match frame {
        Frame::List(index) => index.to_string(),
        Frame::Map(key) => key.clone().unwrap_or_default(),
    };
    frames.iter().map(part).collect()
}

/// The next value is another one of the list, or the next key.
fn after_value(frames: &mut [Frame]) {
    match frames.last_mut() {
        Some(Frame::List(index)) => *index += 1,
        Some(Frame::Map(key)) => *key = None,
        None => {}
    }
}
