//! Converts forms to JSON: an object of their fields.

use serde_json::{Map, Value};

/// Returns the fields of a `multipart/form-data` body, or `None` for another body.
pub fn fields(content_type: &str, body: &str) -> Option<Value> {
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=")?.trim_matches('"');
    let (parts, _) = body.strip_prefix(&format!("--{boundary}\r\n"))?.rsplit_once(&format!("\r\n--{boundary}--"))?;
    let mut fields = Map::new();
    for part in parts.split(&format!("\r\n--{boundary}\r\n")) {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let (name, _) = head.split_once("name=\"")?.1.split_once('"')?;
        fields.insert(name.to_owned(), Value::from(value));
    }
    Some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_form_becomes_an_object_of_its_fields() {
        let part = |name: &str, value: &str| {
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("to", "a@b.test") + &part("text", "one\r\n\r\ntwo") + "--b--\r\n";
        let expected = json!({ "to": "a@b.test", "text": "one\r\n\r\ntwo" });
        assert_eq!(fields("multipart/form-data; boundary=b", &body), Some(expected));
        assert_eq!(fields("multipart/form-data; boundary=c", &body), None);
        assert_eq!(fields("text/plain", &body), None);
        assert_eq!(fields("multipart/form-data; boundary=b", "--b\r\nnothing"), None);
    }
}
