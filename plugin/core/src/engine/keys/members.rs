//! Splits a JSON object into its members, one at a time.

use std::mem;

use serde_json::Value;

use crate::base::json;

/// The members of a JSON object, one after the other, without reading all of it at once.
pub(super) struct Members {
    text: Vec<u8>,
    at: usize,
}

impl Members {
    pub(super) fn new(text: Vec<u8>) -> Self {
        Members { text, at: 0 }
    }

    /// The name of the next member and the text of its value; `None` at the end of the object.
    pub(super) fn next(&mut self) -> Result<Option<(String, &[u8])>, String> {
        let is_first = self.at == 0;
        if is_first {
            self.expect(b'{')?;
        }
        match (self.peek(), is_first) {
            (Some(b'}'), _) => {
                self.at = self.at.saturating_add(1);
                return if self.peek().is_none() { Ok(None) } else { Err(self.error("there is data after the end")) };
            }
            (Some(b','), false) => self.at = self.at.saturating_add(1),
            (_, true) => {}
            _ => return Err(self.error("a comma or the end was expected")),
        }
        self.peek();
        let name = self.value()?;
        let Ok(Value::String(name)) = json::parse(self.text.get(name).unwrap_or_default()) else {
            return Err(self.error("a key in quotes was expected"));
        };
        self.expect(b':')?;
        self.peek();
        let value = self.value()?;
        Ok(Some((name, self.text.get(value).unwrap_or_default())))
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = self.at.saturating_add(space);
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.error(&format!("{:?} was expected", char::from(byte))));
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    /// Skips one value. It does not check whether the value is valid inside.
    fn value(&mut self) -> Result<std::ops::Range<usize>, String> {
        let start = self.at;
        if !matches!(self.text.get(start), Some(b'"' | b'{' | b'[')) {
            let rest = self.text.get(start..).unwrap_or_default();
            // With a quote or a bracket in it, nobody could tell where it ends.
            let is_of_it = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
            self.at = start.saturating_add(rest.iter().take_while(is_of_it).count());
            return if self.at > start { Ok(start..self.at) } else { Err(self.error("a value was expected")) };
        }
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for byte in self.text.get(start..).unwrap_or_default() {
            self.at = self.at.saturating_add(1);
            match (in_string, byte) {
                (true, _) if mem::take(&mut escaped) => continue,
                (true, b'\\') => {
                    escaped = true;
                    continue;
                }
                (_, b'"') => in_string = !in_string,
                (false, b'{' | b'[') => depth = depth.saturating_add(1),
                (false, b'}' | b']') => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 && !in_string {
                return Ok(start..self.at);
            }
        }
        self.at = start;
        Err(self.error("the answer ends too early"))
    }

    fn error(&self, what: &str) -> String {
        format!("byte {}: {what}", self.at)
    }
}
