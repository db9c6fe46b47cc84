//! Decompression, up to a limit. The formats around miniz_oxide's stream are read here: the crate flate2 brings a table
//! of 16 KiB for the checksum.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF as WHOLE,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Why nothing was decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not of that format.
    Malformed,
    /// They become more than the limit.
    TooLarge,
}

/// Bare deflate (RFC 1951). What stands behind its end is ignored.
///
/// # Errors
/// See [`Fault`].
pub fn deflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    stream(bytes, limit, WHOLE).map(|(out, _)| out)
}

/// The zlib format (RFC 1950), with its checksum.
///
/// # Errors
/// See [`Fault`].
pub fn zlib(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    stream(bytes, limit, WHOLE | TINFL_FLAG_PARSE_ZLIB_HEADER).map(|(out, _)| out)
}

/// The gzip format (RFC 1952): one member or several, each with its checksum and size.
///
/// # Errors
/// See [`Fault`].
pub fn gzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let (mut rest, mut out) = (bytes, Vec::new());
    loop {
        rest = behind_header(rest).ok_or(Fault::Malformed)?;
        let (member, used) = stream(rest, limit.saturating_sub(out.len()), WHOLE)?;
        let trailer = [crc32(&member), u32::try_from(member.len()).unwrap_or_default()].map(u32::to_le_bytes);
        let after = rest.get(used..).and_then(|rest| rest.strip_prefix(trailer.as_flattened()));
        rest = after.ok_or(Fault::Malformed)?;
        out.extend(member);
        if rest.is_empty() {
            return Ok(out);
        }
    }
}

/// A stream's contents, and how many bytes it has.
fn stream(bytes: &[u8], limit: usize, flags: u32) -> Result<(Vec<u8>, usize), Fault> {
    const LEAST: usize = 1024;
    let mut state = Box::<DecompressorOxide>::default();
    let (mut used, mut written) = (0_usize, 0_usize);
    // One byte more shows that it is too large.
    let most = limit.saturating_add(1);
    let mut out = vec![0; bytes.len().saturating_mul(2).max(LEAST).min(most)];
    loop {
        let input = bytes.get(used..).unwrap_or_default();
        let (status, read, made) = decompress(&mut state, input, &mut out, written, flags);
        used = used.saturating_add(read);
        written = written.saturating_add(made);
        match status {
            _ if written > limit => return Err(Fault::TooLarge),
            TINFLStatus::Done => {
                out.truncate(written);
                return Ok((out, used));
            }
            TINFLStatus::HasMoreOutput => out.resize(out.len().saturating_mul(2).max(LEAST).min(most), 0),
            _ => return Err(Fault::Malformed),
        }
    }
}

/// What follows the header of a gzip member.
fn behind_header(bytes: &[u8]) -> Option<&[u8]> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const CHECKSUM: u8 = 2;
    let ([0x1f, 0x8b, 8, flags, ..], mut rest) = bytes.split_first_chunk::<10>()? else { return None };
    if flags & EXTRA != 0 {
        let (len, behind) = rest.split_first_chunk()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.saturating_add(1)..)?;
        }
    }
    if flags & CHECKSUM != 0 { rest.get(2..) } else { Some(rest) }
}

/// The CRC-32 of RFC 1952, half a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32| (0..4).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 });
    let table: [u32; 16] = std::array::from_fn(|low| step(u32::try_from(low).unwrap_or_default()));
    let half =
        |crc: u32| (crc >> 4) ^ table.get(usize::try_from(crc & 15).unwrap_or_default()).copied().unwrap_or_default();
    !bytes.iter().fold(!0, |crc, byte| half(half(crc ^ u32::from(*byte))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn members_follow_one_another() {
        let first = vec![b'a'; 100_000];
        let two = [gzipped(&first), gzipped(b"b")].concat();
        let both = [first.as_slice(), b"b"].concat();
        assert_eq!(gzip(&two, 100_001), Ok(both));
        assert_eq!(gzip(&two, 100_000), Err(Fault::TooLarge));
        assert_eq!(gzip(&two, 0), Err(Fault::TooLarge));
        assert_eq!(gzip(&[two.as_slice(), b"x"].concat(), 1 << 20), Err(Fault::Malformed));
        assert_eq!(gzip(&gzipped(b""), 0), Ok(Vec::new()));
    }

    #[test]
    fn every_field_of_a_header_is_passed_over() {
        let builder = GzBuilder::new().filename("a name").comment("a comment").extra([1, 2, 3]);
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(b"text").unwrap();
        assert_eq!(gzip(&encoder.finish().unwrap(), 4), Ok(b"text".to_vec()));
    }

    #[test]
    fn what_is_damaged_is_refused_wherever_it_is() {
        let good = gzipped(b"some text, and some text again");
        for at in (0..good.len()).filter(|at| !(4..10).contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(gzip(&bad, 1000).is_err(), "byte {at}");
            assert!(gzip(&good[..at], 1000).is_err(), "cut at {at}");
        }
    }
}
