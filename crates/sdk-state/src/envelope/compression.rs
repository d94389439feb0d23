use super::damaged;
use crate::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Mutex, PoisonError};
use zstd::bulk;
use zstd::zstd_safe;

/// A state of 9 MB takes 10 ms and shrinks to a tenth; level 3 takes twice as long and makes it no smaller, level -1 is as
/// fast and makes it 44 % larger.
const LEVEL: i32 = 1;
/// A zstd frame that is not skippable begins with these bytes (RFC 8878, section 3.1.1).
const FRAME_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The largest window that a reader accepts: 128 MiB.
const MAX_WINDOW: u64 = 128 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    None,
    Zstd,
}

impl Compression {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the plaintext of `body`, which must be exactly one frame of `length` bytes; `length` is already bounded.
    pub(crate) fn expand(self, zstd: &Zstd, body: Vec<u8>, length: u64) -> Result<Vec<u8>, Error> {
        let plaintext = match self {
            Self::None => body,
            Self::Zstd => zstd.expand_frame(&body, length)?,
        };
        if plaintext.len() as u64 != length {
            return Err(damaged(format!(
                "the file should hold {length} bytes but holds {}",
                plaintext.len()
            )));
        }
        Ok(plaintext)
    }
}

/// A payload that is ready to be sealed, as often as a free revision needs.
pub(crate) struct Compressed {
    pub(crate) compression: Compression,
    pub(crate) length: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The tables of zstd, set up once for each store: making them again costs more than compressing a small state.
pub(crate) struct Zstd {
    compressor: Mutex<bulk::Compressor<'static>>,
    decompressor: Mutex<bulk::Decompressor<'static>>,
}

impl Zstd {
    pub(crate) fn new() -> Result<Self, Error> {
        let no_memory =
            |source| Error::new(ErrorKind::Unavailable, "no memory for the compressor").with_source(source);
        Ok(Self {
            compressor: Mutex::new(bulk::Compressor::new(LEVEL).map_err(no_memory)?),
            decompressor: Mutex::new(bulk::Decompressor::new().map_err(no_memory)?),
        })
    }

    pub(crate) fn compress(&self, plaintext: &[u8]) -> Result<Compressed, Error> {
        let mut compressor = self.compressor.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = compressor
            .compress(plaintext)
            .map_err(|source| Error::new(ErrorKind::Unavailable, "cannot compress").with_source(source))?;
        Ok(Compressed {
            compression: Compression::Zstd,
            length: plaintext.len() as u64,
            bytes,
        })
    }

    fn expand_frame(&self, body: &[u8], length: u64) -> Result<Vec<u8>, Error> {
        let frame_length = zstd_safe::find_frame_compressed_size(body);
        if !body.starts_with(&FRAME_MAGIC) || frame_length != Ok(body.len()) {
            return Err(damaged("the compressed part is not exactly one zstd frame"));
        }
        if window(body).is_none_or(|window| window > MAX_WINDOW) {
            return Err(damaged(
                "the compressed part asks for a window of more than 128 MiB",
            ));
        }
        if let Ok(Some(content)) = zstd_safe::get_frame_content_size(body)
            && content != length
        {
            return Err(damaged(format!(
                "the file should hold {length} bytes but holds {content}"
            )));
        }
        let capacity =
            usize::try_from(length).map_err(|_| damaged("the file is too long for this machine"))?;
        // Decoding in one call writes straight into the output: neither a window nor the claims of the frame reserve memory.
        let expanded = match self.decompressor.try_lock() {
            Ok(mut decompressor) => decompressor.decompress(body, capacity),
            // Another thread is expanding: waiting for it takes longer than setting up a second one.
            Err(_) => bulk::decompress(body, capacity),
        };
        expanded.map_err(|source| match source.kind() {
            // The file may be intact, so this is not reported as damage.
            io::ErrorKind::OutOfMemory => Error::new(
                ErrorKind::Unavailable,
                format!("no memory for the {length} bytes that the file should hold"),
            ),
            _ => damaged("the compressed part cannot be expanded").with_source(source),
        })
    }
}

/// The window that a frame asks for (RFC 8878, section 3.1.1.1).
fn window(frame: &[u8]) -> Option<u64> {
    let descriptor = frame.get(4)?;
    let is_single_segment = descriptor & 0b0010_0000 != 0;
    if is_single_segment {
        return zstd_safe::get_frame_content_size(frame).ok()?;
    }
    let window = frame.get(5)?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}
