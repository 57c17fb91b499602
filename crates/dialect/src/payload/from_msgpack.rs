//! A `MessagePack` payload in another encoding.

use super::check::check_msgpack;
use super::reader::{Flaw, Head, Reader};
use crate::writer::Writer;

/// Writes the value; what was never checked and is no value becomes null.
pub(crate) fn write<W: Writer>(bytes: &[u8], out: &mut W) {
    if check_msgpack(bytes).is_err() || value(&mut Reader::new(bytes), out).is_err() {
        out.null();
    }
}

/// The check has bounded the depth and made sure that nothing in here can fail half-way.
fn value<W: Writer>(reader: &mut Reader<'_>, out: &mut W) -> Result<(), Flaw> {
    match reader.head()? {
        Head::Nil | Head::Extension => out.null(),
        Head::Bool(value) => out.boolean(value),
        Head::Unsigned(value) => out.unsigned(value),
        Head::Negative(value) => out.negative(value),
        Head::Float(value) => out.float(value),
        Head::Text(text) => out.text(utf8(text)?),
        Head::Bytes(bytes) => out.bytes(bytes),
        Head::Array(count) => {
            out.array(usize::try_from(count).map_err(|_| Flaw::Truncated)?);
            for _ in 0..count {
                value(reader, out)?;
            }
            out.end_array();
        }
        Head::Map(count) => {
            out.map(usize::try_from(count).map_err(|_| Flaw::Truncated)?);
            for _ in 0..count {
                let Head::Text(key) = reader.head()? else {
                    return Err(Flaw::Key);
                };
                out.key(utf8(key)?);
                value(reader, out)?;
            }
            out.end_map();
        }
    }
    Ok(())
}

fn utf8(text: &[u8]) -> Result<&str, Flaw> {
    str::from_utf8(text).map_err(|_| Flaw::NotUtf8)
}
