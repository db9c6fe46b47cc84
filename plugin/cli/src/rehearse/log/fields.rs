//! What the rehearsal needs of a log, and the names under which JSON logs have it.

use anyhow::{Result, bail, ensure};

/// A value that the rehearsal needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// When the request began.
    Time,
    Method,
    /// The path with the query.
    Path,
    /// The host, with or without a port.
    Authority,
    /// The client's address, with or without a port.
    Client,
    /// The status of the response.
    Status,
    /// Envoy's response flags.
    Flags,
    /// Envoy's response code details.
    Details,
    /// The API key, or its fingerprint.
    Key,
    /// A header of the request, by its place in [`Fields::headers`].
    Header(u16),
}

/// The usual names of each value in JSON logs, the preferred name first.
const NAMES: [(&str, Slot, &[&str]); 9] = [
    ("time", Slot::Time, &["start_time", "time", "timestamp", "@timestamp", "ts"]),
    ("method", Slot::Method, &["method", "request_method", ":method"]),
    (
        "path",
        Slot::Path,
        &[
            "x_envoy_original_path",
            "x-envoy-original-path",
            "x-envoy-origin-path",
            "path",
            ":path",
            "request_path",
            "uri",
        ],
    ),
    ("authority", Slot::Authority, &["authority", ":authority", "host"]),
    (
        "client",
        Slot::Client,
        &[
            "downstream_remote_address",
            "downstream_remote_address_without_port",
            "remote_address",
            "client_ip",
            "remote_addr",
        ],
    ),
    ("status", Slot::Status, &["response_code", "status", "status_code"]),
    ("flags", Slot::Flags, &["response_flags", "flags"]),
    ("details", Slot::Details, &["response_code_details", "details"]),
    ("key", Slot::Key, &["tollbell_key", "tollbell.key"]),
];

/// The members of JSON records that are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// Names with what they are. Of several names for one value, the first that a record has counts.
    names: Vec<(String, Slot)>,
    headers: Vec<String>,
}

impl Fields {
    /// `headers` are the headers that the configuration needs. `chosen` are pairs of a value's name, such as `time` or
    /// `header:x-consumer-id`, and the member that has it.
    ///
    /// # Errors
    /// A value with this name does not exist.
    pub(crate) fn new(headers: &[String], chosen: &[(String, String)], key: Option<&str>) -> Result<Self> {
        let mut fields = Fields::default();
        for (value, slot, usual) in NAMES {
            let own = chosen.iter().filter(|(name, _)| name == value).map(|(_, member)| member.as_str());
            let own: Vec<&str> = own.chain(key.filter(|_| slot == Slot::Key)).collect();
            let names = if own.is_empty() { usual } else { &own };
            fields.names.extend(names.iter().map(|name| ((*name).to_owned(), slot)));
        }
        for (value, member) in chosen {
            ensure!(!member.is_empty(), "--field {value}: write the name of the log's field after the equals sign");
            if let Some(header) = value.strip_prefix("header:") {
                let slot = fields.header(&header.to_ascii_lowercase());
                fields.names.push((member.clone(), slot));
            } else if !NAMES.iter().any(|(known, ..)| known == value) {
                let known = NAMES.map(|(known, ..)| known).join(", ");
                bail!("--field {value}: there are {known}, and header:<name>");
            }
        }
        for header in headers {
            let slot = fields.header(header);
            fields.names.push((header.clone(), slot));
            fields.names.push((header.replace('-', "_"), slot));
        }
        Ok(fields)
    }

    /// The slot of a header by its name in lower case.
    pub(crate) fn header(&mut self, name: &str) -> Slot {
        let place = self.headers.iter().position(|known| known == name).unwrap_or_else(|| {
            self.headers.push(name.to_owned());
            self.headers.len() - 1
        });
        Slot::Header(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The name of a header by its place.
    pub(crate) fn header_name(&self, place: u16) -> &str {
        self.headers.get(usize::from(place)).map_or("", String::as_str)
    }

    /// What a member of a record is, and its rank among the members that are the same value: lower is better.
    pub(super) fn find(&self, name: &str) -> Option<(usize, Slot)> {
        self.names.iter().enumerate().find(|(_, (known, _))| known == name).map(|(rank, (_, slot))| (rank, *slot))
    }

    /// Whether a member with this name can contain a member that is read.
    pub(super) fn is_inside(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_chosen_name_replaces_the_usual_ones() {
        let chosen = [("time".to_owned(), "when".to_owned()), ("header:X-Id".to_owned(), "id".to_owned())];
        let fields = Fields::new(&["x-team".to_owned()], &chosen, Some("api_key")).unwrap();
        let slot = |name: &str| fields.find(name).map(|(_, slot)| slot);
        assert_eq!((slot("when"), slot("start_time")), (Some(Slot::Time), None));
        assert_eq!((slot("api_key"), slot("tollbell_key")), (Some(Slot::Key), None));
        assert_eq!((slot("id"), slot("x_team")), (Some(Slot::Header(0)), Some(Slot::Header(1))));
        let unknown = Fields::new(&[], &[("tiem".to_owned(), "when".to_owned())], None).unwrap_err();
        assert!(unknown.to_string().contains("there are time, method"), "{unknown}");
    }
}
