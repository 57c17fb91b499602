//! One message deflated by itself (RFC 7692 without context takeover).

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Shortest message that is worth it, in bytes.
const WORTH_BYTES: usize = 96;
/// What ends a flushed block, and is left away on the wire (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Its tables take about 300 KB, so that one per thread is made and used again.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// The deflated form of `payload`; none where it is not shorter.
pub(crate) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < WORTH_BYTES {
        return None;
    }
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        // Whatever does not fit is longer than the message.
        let mut short = Vec::with_capacity(payload.len());
        let status = deflater.compress_vec(payload, &mut short, FlushCompress::Sync);
        let is_whole = matches!(status, Ok(Status::Ok))
            && deflater.total_in() == payload.len() as u64
            && short.ends_with(&TAIL);
        if !is_whole {
            return None;
        }
        short.truncate(short.len() - TAIL.len());
        Some(short)
    })
}
