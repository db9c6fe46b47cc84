//! Reads a record from a line of JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::fields::{Fields, Slot};
use super::record::{Record, is_absent};
use super::time;

/// The most values that a record has of its kinds, except headers.
const PLAIN: usize = 9;

/// Reads a record.
///
/// # Errors
/// What is wrong with the line, in a few words that are the same for lines with the same fault.
pub(super) fn read(fields: &Fields, line: &str) -> Result<Record, String> {
    let mut found = Found { fields, record: Record::default(), ranks: [usize::MAX; PLAIN], texts: Default::default() };
    let mut reader = serde_json::Deserializer::from_str(line);
    Object { found: &mut found, prefix: "" }.deserialize(&mut reader).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => "JSON that ends too early".to_owned(),
        _ => "not a JSON object".to_owned(),
    })?;
    reader.end().map_err(|_| "text after the JSON object".to_owned())?;
    found.finish()
}

struct Found<'f, 'j> {
    fields: &'f Fields,
    record: Record,
    ranks: [usize; PLAIN],
    texts: [Cow<'j, str>; PLAIN],
}

/// The place of a value in the arrays of [`Found`].
fn place(slot: Slot) -> usize {
    match slot {
        Slot::Time => 0,
        Slot::Status => 1,
        Slot::Client => 2,
        Slot::Method => 3,
        Slot::Path => 4,
        Slot::Authority => 5,
        Slot::Flags => 6,
        Slot::Details => 7,
        Slot::Key => 8,
        Slot::Header(_) => PLAIN,
    }
}

const KEPT: [(usize, Slot); 6] =
    [(3, Slot::Method), (4, Slot::Path), (5, Slot::Authority), (6, Slot::Flags), (7, Slot::Details), (8, Slot::Key)];

impl<'j> Found<'_, 'j> {
    fn add(&mut self, (rank, slot): (usize, Slot), text: Cow<'j, str>) {
        let at = place(slot);
        match self.ranks.get_mut(at).zip(self.texts.get_mut(at)) {
            Some((best, value)) if rank < *best && !is_absent(&text) => (*best, *value) = (rank, text),
            Some(_) => {}
            None if self.record.text(slot).is_none() => self.record.add(slot, &text),
            None => {}
        }
    }

    fn finish(self) -> Result<Record, String> {
        let Found { mut record, texts, .. } = self;
        let [time, status, client, ..] = &texts;
        if time.is_empty() {
            return Err("no time (see --field time)".to_owned());
        }
        record.time = time::usual(time).ok_or("a time in an unknown form")?;
        record.status = status.parse().unwrap_or_default();
        record.set_client(client);
        for (at, slot) in KEPT {
            record.add(slot, texts.get(at).map_or("", |text| text));
        }
        if record.text(Slot::Path).is_none() {
            return Err("no path (see --field path)".to_owned());
        }
        Ok(record)
    }
}

/// An object, or an object in an object. The names of its members begin with `prefix`.
struct Object<'a, 'f, 'j, 'p> {
    found: &'a mut Found<'f, 'j>,
    prefix: &'p str,
}

impl<'j> DeserializeSeed<'j> for Object<'_, '_, 'j, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'j> Visitor<'j> for Object<'_, '_, 'j, '_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Name<'j>>()? {
            let name = if self.prefix.is_empty() { name.0 } else { Cow::Owned(format!("{}.{}", self.prefix, name.0)) };
            if let Some(known) = self.found.fields.find(&name) {
                let text = members.next_value_seed(Text)?;
                self.found.add(known, text);
            } else if self.found.fields.is_inside(&name) {
                members.next_value_seed(Inside(Object { found: self.found, prefix: &name }))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A value that may be an object.
struct Inside<'a, 'f, 'j, 'p>(Object<'a, 'f, 'j, 'p>);

impl<'j> DeserializeSeed<'j> for Inside<'_, '_, 'j, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'j> Visitor<'j> for Inside<'_, '_, 'j, '_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("a value")
    }

    fn visit_map<A: MapAccess<'j>>(self, members: A) -> Result<(), A::Error> {
        self.0.visit_map(members)
    }

    fn visit_seq<A: serde::de::SeqAccess<'j>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A member's name. It borrows from the line if it has no escapes.
struct Name<'j>(Cow<'j, str>);

impl<'j> serde::Deserialize<'j> for Name<'j> {
    fn deserialize<D: Deserializer<'j>>(reader: D) -> Result<Self, D::Error> {
        Text.deserialize(reader).map(Name)
    }
}

/// A text, or a number as text. Anything else is an empty text.
struct Text;

impl<'j> DeserializeSeed<'j> for Text {
    type Value = Cow<'j, str>;

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<Cow<'j, str>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'j> Visitor<'j> for Text {
    type Value = Cow<'j, str>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'j str) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_unit<E>(self) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_map<A: MapAccess<'j>>(self, mut members: A) -> Result<Cow<'j, str>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cow::Borrowed(""))
    }

    fn visit_seq<A: serde::de::SeqAccess<'j>>(self, mut items: A) -> Result<Cow<'j, str>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cow::Borrowed(""))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields() -> Fields {
        let chosen = [("header:x-team".to_owned(), "request.team".to_owned())];
        Fields::new(&["x-id".to_owned()], &chosen, Some("k")).unwrap()
    }

    #[test]
    fn a_record_has_what_the_line_has() {
        let line = r#"{"start_time":"2026-05-28T20:26:40.123Z","method":"GET","path":"/a?b=1","x_envoy_original_path":"-",
            "authority":"a.test","downstream_remote_address":"192.0.2.7:5","response_code":200,"response_flags":"-",
            "bytes":[1,{"path":"/other"}],"request":{"team":"\u00e9","other":{"team":1}},"k":"k\"1","x-id":"i"}"#;
        let record = read(&fields(), line).unwrap();
        assert_eq!((record.time, record.status), (1_780_000_000_123_000_000, 200));
        assert_eq!(record.client, "192.0.2.7:5".parse().ok());
        let texts: Vec<(Slot, &str)> = record.texts().collect();
        let expected = [
            (Slot::Header(0), "é"),
            (Slot::Header(1), "i"),
            (Slot::Method, "GET"),
            (Slot::Path, "/a?b=1"),
            (Slot::Authority, "a.test"),
            (Slot::Key, "k\"1"),
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_preferred_name_counts_in_any_order() {
        for line in [
            r#"{"time":1780000000,"path":"/rewritten","x-envoy-original-path":"/a"}"#,
            r#"{"time":1780000000,"x-envoy-original-path":"/a","path":"/rewritten"}"#,
        ] {
            assert_eq!(read(&fields(), line).unwrap().text(Slot::Path), Some("/a"));
        }
    }

    #[test]
    fn malformed_lines_have_a_reason() {
        for (line, expected) in [
            (r#"{"time":"#, "JSON that ends too early"),
            ("[]", "not a JSON object"),
            ("GET / HTTP/1.1", "not a JSON object"),
            (r#"{"time":1780000000,"path":"/"} x"#, "text after the JSON object"),
            (r#"{"path":"/"}"#, "no time (see --field time)"),
            (r#"{"time":"soon","path":"/"}"#, "a time in an unknown form"),
            (r#"{"time":1780000000}"#, "no path (see --field path)"),
        ] {
            assert_eq!(read(&fields(), line).unwrap_err(), expected, "{line}");
        }
    }
}
