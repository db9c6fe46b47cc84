//! Finds the end of a body that passes by.

use super::Length;

/// The place in a body.
pub(super) enum Follow {
    /// The bytes that are left.
    Bytes(u64),
    /// In the line with the length of a chunk: the length so far, and whether a character ended it.
    Size(u64, bool),
    /// In a chunk: the bytes that are left, with the line break after it.
    Chunk(u64),
    /// In the line of a trailer: whether it is empty so far.
    Trailer(bool),
    /// The body is not valid. Only hyper knows its end.
    Lost,
}

impl Follow {
    pub(super) fn new(length: Length) -> Self {
        match length {
            Length::Bytes(bytes) => Follow::Bytes(bytes),
            Length::Chunked | Length::UntilClose => Follow::Size(0, false),
        }
    }

    /// Whether the last chunk has passed.
    pub(super) fn is_in_trailers(&self) -> bool {
        matches!(self, Follow::Trailer(_))
    }

    /// Returns the number of bytes that belong to the body, and whether the body ends after them. It stops before the
    /// trailers.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, bool) {
        self.take_data(input, |_| {})
    }

    /// Like [`Self::take`]. `each` gets the data without the framing of chunks.
    pub(super) fn take_data(&mut self, input: &[u8], mut each: impl FnMut(&[u8])) -> (usize, bool) {
        let mut at = 0;
        while at < input.len() {
            let rest = input.get(at..).unwrap_or_default();
            match self {
                Follow::Bytes(left) | Follow::Chunk(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    // A chunk has a line break at its end.
                    let data = usize::try_from(left.saturating_sub(2)).map_or(taken, |data| data.min(taken));
                    each(rest.get(..data).unwrap_or_default());
                    *left = left.saturating_sub(u64::try_from(taken).unwrap_or_default());
                    at += taken;
                    match self {
                        Follow::Bytes(0) => return (at, true),
                        Follow::Chunk(0) => *self = Follow::Size(0, false),
                        _ => {}
                    }
                }
                Follow::Lost => return (input.len(), false),
                Follow::Size(..) | Follow::Trailer(_) => {
                    at += 1;
                    let was_size = matches!(self, Follow::Size(..));
                    if self.line(rest.first().copied().unwrap_or_default()) {
                        return (at, true);
                    }
                    // The caller can change the trailers.
                    if was_size && self.is_in_trailers() {
                        return (at, false);
                    }
                }
            }
        }
        (at, false)
    }

    /// Handles a byte of a line. Returns whether it was the last byte of the body.
    fn line(&mut self, byte: u8) -> bool {
        let next = match (&self, byte) {
            (Follow::Size(0, _), b'\n') => Follow::Trailer(true),
            (Follow::Size(size, _), b'\n') => Follow::Chunk(size.saturating_add(2)),
            (Follow::Size(size, false), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                match size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit))) {
                    Some(size) => Follow::Size(size, false),
                    None => Follow::Lost,
                }
            }
            (Follow::Size(size, _), b'\r' | b';' | b' ' | b'\t') => Follow::Size(*size, true),
            (Follow::Size(size, true), _) => Follow::Size(*size, true),
            (Follow::Size(..), _) => Follow::Lost,
            (Follow::Trailer(true), b'\n') => return true,
            (Follow::Trailer(_), b'\n') => Follow::Trailer(true),
            (Follow::Trailer(is_empty), b'\r') => Follow::Trailer(*is_empty),
            _ => Follow::Trailer(false),
        };
        *self = next;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of_chunked(input: &[u8]) -> Option<usize> {
        let mut follow = Follow::new(Length::Chunked);
        let (mut taken, mut is_end) = follow.take(input);
        if follow.is_in_trailers() {
            let (more, ends) = follow.take(&input[taken..]);
            (taken, is_end) = (taken + more, ends);
        }
        is_end.then_some(taken)
    }

    #[test]
    fn the_end_of_chunks_is_found() {
        assert_eq!(length_of_chunked(b"2\r\nab\r\n0\r\n\r\nGET"), Some(12));
        assert_eq!(length_of_chunked(b"a;x=1\r\n0123456789\r\n0\r\nt: 1\r\n\r\nGET"), Some(30));
        assert_eq!(length_of_chunked(b"2\r\nab\r\n0\r\n"), None);
        assert_eq!(length_of_chunked(b"zz\r\nab\r\n0\r\n\r\n"), None);
    }

    #[test]
    fn pieces_do_not_matter() {
        let input = b"2\r\nab\r\n1f\r\n0123456789012345678901234567890\r\n0\r\nt: 1\r\n\r\n";
        let mut follow = Follow::new(Length::Chunked);
        let ends: Vec<bool> = input.chunks(1).map(|byte| follow.take(byte).1).collect();
        assert_eq!(ends.iter().position(|is_end| *is_end), Some(input.len() - 1));
    }

    #[test]
    fn the_data_of_chunks_is_found() {
        let input = b"2\r\nab\r\n3;x=1\r\ncde\r\n0\r\n\r\n";
        for size in 1..input.len() {
            let (mut follow, mut data) = (Follow::new(Length::UntilClose), Vec::new());
            for piece in input.chunks(size) {
                follow.take_data(piece, |part| data.extend_from_slice(part));
            }
            assert_eq!(data, b"abcde");
        }
    }

    #[test]
    fn a_length_is_counted() {
        let mut follow = Follow::new(Length::Bytes(3));
        assert_eq!(follow.take(b"ab"), (2, false));
        assert_eq!(follow.take(b"cGET"), (1, true));
    }
}
