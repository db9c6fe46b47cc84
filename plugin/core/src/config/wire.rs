//! A serialized `google.protobuf.Struct`, read straight into JSON. The crate prost would bring code for writing, for other
//! messages and for buffers in pieces.

use serde_json::{Map, Value};

use super::decode::number;

/// Objects and lists inside of one another.
const MAX_DEPTH: usize = 100;

/// Reads a `Struct`; `None` where the bytes are none. Unknown fields are passed over.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    object_at(bytes, MAX_DEPTH)
}

fn object_at(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let depth = depth.checked_sub(1)?;
    let mut object = Map::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.take_field()? {
        match field {
            (1, Field::Bytes(entry)) => {
                let (name, value) = entry_at(entry, depth)?;
                object.insert(name, value);
            }
            (1, _) => return None,
            _ => {}
        }
    }
    Some(object)
}

fn entry_at(bytes: &[u8], depth: usize) -> Option<(String, Value)> {
    let (mut name, mut value) = (None, None);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.take_field()? {
        match field {
            (1, Field::Bytes(text)) if name.is_none() => name = Some(String::from_utf8(text.to_vec()).ok()?),
            (2, Field::Bytes(bytes)) if value.is_none() => value = Some(value_at(bytes, depth)?),
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    Some((name.unwrap_or_default(), value.unwrap_or_default()))
}

fn value_at(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut value = None;
    let mut fields = Fields(bytes);
    while let Some(field) = fields.take_field()? {
        let read = match field {
            (1, Field::Varint(_)) => Value::Null,
            (2, Field::Fixed64(bytes)) => number(f64::from_le_bytes(bytes)),
            (3, Field::Bytes(text)) => Value::String(String::from_utf8(text.to_vec()).ok()?),
            (4, Field::Varint(truth)) => Value::Bool(truth != 0),
            (5, Field::Bytes(bytes)) => Value::Object(object_at(bytes, depth)?),
            (6, Field::Bytes(bytes)) => Value::Array(list_at(bytes, depth)?),
            (1..=6, _) => return None,
            _ => continue,
        };
        // It has one: a second would add to the first, which nobody writes.
        if value.replace(read).is_some() {
            return None;
        }
    }
    Some(value.unwrap_or_default())
}

fn list_at(bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let depth = depth.checked_sub(1)?;
    let mut list = Vec::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.take_field()? {
        match field {
            (1, Field::Bytes(value)) => list.push(value_at(value, depth)?),
            (1, _) => return None,
            _ => {}
        }
    }
    Some(list)
}

/// The fields of a message that are still to be read.
struct Fields<'m>(&'m [u8]);

enum Field<'m> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'m [u8]),
    Fixed32,
}

impl<'m> Fields<'m> {
    /// The next field and its number, or that there is no more; `None` where the bytes are no message.
    fn take_field(&mut self) -> Option<Option<(u32, Field<'m>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = u32::try_from(self.varint()?).ok()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(*self.take(8)?.first_chunk()?),
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(usize::try_from(len).ok()?)?)
            }
            5 => self.take(4).map(|_| Field::Fixed32)?,
            _ => return None,
        };
        let number = tag >> 3;
        (number > 0).then_some(Some((number, field)))
    }

    fn take(&mut self, len: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            number |= part.checked_shl(shift)?;
            // The last of ten bytes has one bit.
            if shift == 63 && part > 1 {
                return None;
            }
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn json(value: prost_types::Value) -> Value {
        match value.kind {
            None | Some(Kind::NullValue(_)) => Value::Null,
            Some(Kind::BoolValue(value)) => Value::Bool(value),
            Some(Kind::NumberValue(value)) => number(value),
            Some(Kind::StringValue(value)) => Value::String(value),
            Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
            Some(Kind::StructValue(value)) => Value::Object(read(value)),
        }
    }

    fn read(decoded: Struct) -> Map<String, Value> {
        decoded.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
    }

    fn any_value() -> impl Strategy<Value = prost_types::Value> {
        let plain = prop_oneof![
            Just(None),
            Just(Some(Kind::NullValue(0))),
            any::<bool>().prop_map(|truth| Some(Kind::BoolValue(truth))),
            any::<f64>().prop_map(|number| Some(Kind::NumberValue(number))),
            any::<String>().prop_map(|text| Some(Kind::StringValue(text))),
        ];
        let plain = plain.prop_map(|kind| prost_types::Value { kind });
        plain.prop_recursive(4, 32, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|values| ListValue { values });
            let fields = prop::collection::btree_map(any::<String>(), inner, 0..4);
            prop_oneof![
                list.prop_map(|list| prost_types::Value { kind: Some(Kind::ListValue(list)) }),
                fields.prop_map(|fields| prost_types::Value { kind: Some(Kind::StructValue(Struct { fields })) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::btree_map(any::<String>(), any_value(), 0..6)) {
            let message = Struct { fields };
            prop_assert_eq!(object(&message.encode_to_vec()), Some(read(message)));
        }

        #[test]
        fn what_is_read_is_what_prost_reads(
            fields in prop::collection::btree_map("[a-c]{0,2}", any_value(), 0..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = Struct { fields }.encode_to_vec();
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            if let Some(object) = object(&bytes) {
                let decoded = Struct::decode(bytes.as_slice());
                prop_assert_eq!(decoded.ok().map(read), Some(object));
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            object(&bytes);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = prost_types::Value { kind: None };
        for _ in 0..1000 {
            value = prost_types::Value { kind: Some(Kind::ListValue(ListValue { values: vec![value] })) };
        }
        let message = Struct { fields: [("a".to_owned(), value)].into() };
        assert_eq!(object(&message.encode_to_vec()), None);
    }
}
