//! A header map that behaves like Envoy's: names are in lower case, entries are in the order of insertion, and
//! pseudo-headers are first.

use super::MapKind;

/// Headers or trailers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<[u8]>, Box<[u8]>)>);

impl Headers {
    /// Makes an empty map.
    pub fn new() -> Self {
        Headers::default()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of bytes in all names and values. Envoy counts the size of a map in the same way.
    pub fn byte_size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Iterates over all entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As in Envoy, `host` is another name for `:authority` in a request.
    fn alias<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        let is_request = || self.0.iter().any(|(other, _)| matches!(&**other, b":authority" | b":method" | b":path"));
        if name.eq_ignore_ascii_case(b"host") && is_request() { b":authority" } else { name }
    }

    /// Returns the first value of a name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = self.alias(name.as_ref());
        self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Returns the first value of a name if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Iterates over all values of a name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| **other == *name.as_bytes()).map(|(_, value)| &**value)
    }

    /// Adds an entry. A pseudo-header is inserted after the other pseudo-headers.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let entry = (name.as_ref().to_ascii_lowercase().into_boxed_slice(), value.as_ref().into());
        if is_pseudo(&entry.0) {
            let end = self.0.iter().take_while(|(name, _)| is_pseudo(name)).count();
            self.0.insert(end, entry);
        } else {
            self.0.push(entry);
        }
    }

    /// Adds a value like Envoy's `addCopy`. If the map has at most one entry of this name, the value is appended after a
    /// comma.
    pub fn append(&mut self, kind: MapKind, name: &[u8], value: &[u8]) {
        let name = self.alias(name).to_ascii_lowercase();
        if kind.joins(&name)
            && let Some((_, present)) = self.0.iter_mut().find(|(other, _)| **other == *name)
        {
            if !value.is_empty() {
                let separator: &[u8] = if present.is_empty() { b"" } else { b"," };
                *present = [present, separator, value].concat().into();
            }
            return;
        }
        self.add(name, value);
    }

    /// Removes a name's entries and adds one.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = self.alias(name.as_ref());
        self.remove(name);
        self.add(name, value);
    }

    /// Changes the first entry of a name without moving it, or adds an entry.
    pub fn set_in_place(&mut self, name: &str, value: impl AsRef<[u8]>) {
        match self.0.iter_mut().find(|(other, _)| **other == *name.as_bytes()) {
            Some((_, present)) => *present = value.as_ref().into(),
            None => self.add(name, value),
        }
    }

    /// Removes a name's entries. Returns whether there were any.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let (name, before) = (self.alias(name.as_ref()), self.0.len());
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.0.len() < before
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.add(name, value);
        }
        headers
    }
}

fn is_pseudo(name: &[u8]) -> bool {
    name.first() == Some(&b':')
}
