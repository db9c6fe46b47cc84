//! Replaces the heads that hyper writes, and adds trailers.

use super::follow::Follow;
use super::{Length, NAME, TRAILERS, parse_value, unescape};
use crate::router::Tunnel;

/// The place in the messages that hyper writes.
#[derive(Default)]
pub(super) struct Writer {
    /// The head so far.
    head: Vec<u8>,
    /// The trailers so far, with the empty line.
    tail: Vec<u8>,
    state: State,
    /// Whether the last head was a request with the method HEAD.
    pub(super) is_head: bool,
    /// The tunnel that the last request asked for.
    pub(super) tunnel: Option<Tunnel>,
    /// Whether a response to the last request is expected.
    pub(super) awaits: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Head,
    Body(Follow),
    /// In a body that hyper has in chunks, and the peer does not get in chunks.
    Plain(Follow),
    /// A message of hyper itself, which is the last one.
    Through,
}

impl Writer {
    /// Handles bytes of hyper. `trailers` are the lines of the trailers, if there are any when a body ends.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>, trailers: &mut Option<Vec<u8>>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.state {
                State::Head => rest = self.push_head(rest, out),
                State::Through => {
                    out.extend_from_slice(rest);
                    return;
                }
                State::Plain(follow) => {
                    let (taken, is_end) = follow.take_data(rest, |data| out.extend_from_slice(data));
                    rest = rest.get(taken..).unwrap_or_default();
                    if is_end {
                        self.state = State::Head;
                    }
                }
                State::Body(follow) => {
                    let was_in_trailers = follow.is_in_trailers();
                    let (taken, is_end) = follow.take(rest);
                    let (body, after) = rest.split_at(taken);
                    rest = after;
                    if !was_in_trailers {
                        out.extend_from_slice(body);
                    } else {
                        self.tail.extend_from_slice(body);
                    }
                    if is_end {
                        let tail = std::mem::take(&mut self.tail);
                        let prefix = [TRAILERS.as_bytes(), b": "].concat();
                        let carried =
                            tail.strip_prefix(prefix.as_slice()).and_then(|value| value.strip_suffix(b"\r\n\r\n"));
                        match trailers.take().or_else(|| carried.and_then(unescape)) {
                            Some(lines) if was_in_trailers => {
                                out.extend_from_slice(&lines);
                                out.extend_from_slice(b"\r\n");
                            }
                            _ => out.extend_from_slice(&tail),
                        }
                        self.state = State::Head;
                    }
                }
            }
        }
    }

    /// Handles a part of a head. Returns what follows it.
    fn push_head<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4) else { return &[] };
        let rest = bytes.get(end.saturating_sub(before)..).unwrap_or_default();
        self.head.truncate(end);
        let head = std::mem::take(&mut self.head);
        let prefix = [b"\n", NAME.as_bytes(), b": "].concat();
        let value = head.windows(prefix.len()).position(|part| part == prefix).and_then(|at| {
            let value = head.get(at + prefix.len()..)?;
            value.split(|byte| *byte == b'\r').next()
        });
        match value.and_then(parse_value) {
            Some((length, real)) => {
                out.extend_from_slice(&real);
                self.is_head = real.starts_with(b"HEAD ");
                self.awaits = true;
                self.tunnel = match length {
                    Length::UntilClose if real.starts_with(b"CONNECT ") => Some(Tunnel::Connect),
                    Length::UntilClose => Some(Tunnel::Upgrade),
                    _ => None,
                };
                self.state = match length {
                    Length::Bytes(0) => State::Head,
                    Length::UntilClose => State::Plain(Follow::new(length)),
                    _ => State::Body(Follow::new(length)),
                };
            }
            None => {
                out.extend_from_slice(&head);
                self.state = State::Through;
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Headers;
    use crate::server::wire;

    fn written(pieces: &[&[u8]], trailers: Option<&str>) -> String {
        let (mut writer, mut out) = (Writer::default(), Vec::new());
        let mut trailers = trailers.map(|lines| lines.as_bytes().to_vec());
        pieces.iter().for_each(|piece| writer.push(piece, &mut out, &mut trailers));
        String::from_utf8(out).unwrap()
    }

    fn plain(length: Length) -> String {
        let headers: Headers = [("x-b", "1"), ("x-a", "2"), ("x-b", "3")].into_iter().collect();
        let value = wire::value(length, "HTTP/1.1 1000 Odd", &headers, "").unwrap();
        format!("HTTP/1.1 200 OK\r\n{NAME}: {}\r\ndate: now\r\n\r\n", value.to_str().unwrap())
    }

    #[test]
    fn heads_are_replaced() {
        let plain = plain(Length::Bytes(2));
        let expected = "HTTP/1.1 1000 Odd\r\nx-b: 1\r\nx-a: 2\r\nx-b: 3\r\n\r\nok";
        let twice = format!("{plain}ok{plain}ok");
        assert_eq!(written(&[twice.as_bytes()], None), expected.repeat(2));
        let bytes: Vec<&[u8]> = twice.as_bytes().chunks(1).collect();
        assert_eq!(written(&bytes, None), expected.repeat(2));
    }

    #[test]
    fn trailers_are_added() {
        let head = plain(Length::Chunked);
        let written = written(&[head.as_bytes(), b"2\r\nok\r\n", b"0\r\n\r\n"], Some("t: 1\r\n"));
        assert!(written.ends_with("\r\n\r\n2\r\nok\r\n0\r\nt: 1\r\n\r\n"), "{written}");
    }

    #[test]
    fn trailers_of_hyper_carry_the_real_ones() {
        let head = plain(Length::Chunked);
        let real = [("t", "1"), ("u", "2"), ("t", "3")].into_iter().collect();
        let carried = wire::trailers(&real);
        let end = format!("0\r\n{TRAILERS}: {}\r\n\r\n", carried[TRAILERS].to_str().unwrap());
        let written = written(&[head.as_bytes(), b"2\r\nok\r\n", end.as_bytes(), head.as_bytes()], None);
        assert!(written.contains("ok\r\n0\r\nt: 1\r\nu: 2\r\nt: 3\r\n\r\nHTTP/1.1 1000"), "{written}");
    }

    #[test]
    fn a_body_until_the_close_is_not_in_chunks() {
        let head = plain(Length::UntilClose);
        let written = written(&[head.as_bytes(), b"2\r\nok\r\n3\r", b"\nyes\r\n", b"0\r\n\r\n"], None);
        assert!(written.ends_with("\r\n\r\nokyes"), "{written}");
    }

    #[test]
    fn a_head_of_hyper_passes() {
        assert_eq!(written(&[b"HTTP/1.1 400 Bad Request\r\n\r\nx"], None), "HTTP/1.1 400 Bad Request\r\n\r\nx");
    }
}
