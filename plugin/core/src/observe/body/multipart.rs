//! A strict reader of multipart forms (RFC 7578). It refuses all deviations, because a lenient reader may see other
//! fields than the application.

/// The parts of a header such as `form-data; name="a"`: its value, then its parameters, unquoted.
pub(super) fn parameters(header: &str) -> impl Iterator<Item = (String, String)> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut escaped) = (String::new(), false, false);
    for c in header.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                part.push(c);
                continue;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.into_iter().map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part.as_str(), ""));
        (name.trim().to_owned(), unquoted(value.trim()))
    })
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            // Old browsers put a file path here, whose backslashes escape nothing.
            ('\\', Some('"' | '\\')) => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

/// The fields that are not files.
///
/// # Errors
/// The reason why the form is invalid.
pub(super) fn read(boundary: &[u8], bytes: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let delimiter = [b"\r\n--", boundary].concat();
    let opening = delimiter.get(2..).unwrap_or_default();
    let mut rest = bytes.strip_prefix(opening).ok_or("it does not start with its boundary")?;
    let mut fields = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return if end.is_empty() || end == b"\r\n" { Ok(fields) } else { Err("there is data after its end") };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or("a boundary is not on a line of its own")?;
        let end = find(part, &delimiter).ok_or("a part has no end")?;
        let (part, behind) = part.split_at_checked(end).ok_or("a part has no end")?;
        fields.extend(field(part)?);
        rest = behind.get(delimiter.len()..).unwrap_or_default();
    }
}

/// The name and value of a part; `None` for a file.
fn field(part: &[u8]) -> Result<Option<(String, String)>, &'static str> {
    let end = find(part, b"\r\n\r\n").ok_or("a part has no headers")?;
    let (headers, value) = part.split_at_checked(end).ok_or("a part has no headers")?;
    let value = value.get(4..).unwrap_or_default();
    let headers = std::str::from_utf8(headers).map_err(|_| "a header is not UTF-8")?;
    let (mut name, mut is_file) = (None, false);
    for line in headers.split("\r\n") {
        let (header, content) = line.split_once(':').ok_or("a line of a part's headers is invalid")?;
        if header.eq_ignore_ascii_case("content-disposition") {
            let mut parts = parameters(content);
            if !parts.next().is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("form-data")) || name.is_some() {
                return Err("a part does not belong to a form");
            }
            for (parameter, value) in parts {
                match parameter.to_ascii_lowercase().as_str() {
                    "name" if name.is_none() => name = Some(value),
                    "name" => return Err("a part has two names"),
                    "filename" | "filename*" => is_file = true,
                    _ => {}
                }
            }
        } else if header.eq_ignore_ascii_case("content-transfer-encoding") {
            let plain = ["7bit", "8bit", "binary"].iter().any(|plain| content.trim().eq_ignore_ascii_case(plain));
            if !plain {
                return Err("a part has a transfer encoding");
            }
        }
    }
    let name = name.ok_or("a part has no name")?;
    if is_file {
        return Ok(None);
    }
    let value = std::str::from_utf8(value).map_err(|_| "a value is not UTF-8")?;
    Ok(Some((name, value.to_owned())))
}

/// The first position of `needle`.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).position(|window| window == needle)
}
