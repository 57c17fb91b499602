//! Durations, sizes and numbers: how they are written and read.

use std::time::Duration;

const UNITS_MS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const UNITS_BYTES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `25s`, `500ms`, `1h30m`; the unit is demanded.
pub(crate) fn read_duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "is no duration such as \"25s\", \"500ms\" or \"1h30m\"";
    let mut total_ms = 0_u64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(FORM);
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or(FORM)?;
        if after.is_empty() {
            return Err("has no unit; write for example \"25s\", \"500ms\" or \"10m\"");
        }
        let end = after
            .find(|symbol: char| symbol.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end).ok_or(FORM)?;
        let unit_ms = scale(&UNITS_MS, unit).ok_or(FORM)?;
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or("is too long")?;
        rest = next;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration in the largest unit that is exact and not below 5 of it.
pub(crate) fn write_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let exact = |&&(_, unit_ms): &&(&str, u64)| {
        ms.is_multiple_of(unit_ms) && (unit_ms <= 1000 || ms / unit_ms >= 5 || unit_ms > 60_000)
    };
    let (unit, unit_ms) = UNITS_MS
        .iter()
        .rev()
        .find(exact)
        .copied()
        .unwrap_or(("ms", 1));
    format!("{}{unit}", ms / unit_ms)
}

/// Reads `64KiB`, `1MB`, `512B` or a bare number of bytes.
pub(crate) fn read_bytes(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "is no size such as \"64KiB\", \"1MiB\" or a number of bytes";
    let (number, unit) = split_number(text).ok_or(FORM)?;
    let unit = unit.trim_start();
    let factor = if unit.is_empty() {
        1
    } else {
        scale(&UNITS_BYTES, unit).ok_or(FORM)?
    };
    number.checked_mul(factor).ok_or("is too large")
}

/// Writes a size in the largest binary unit that is exact.
pub(crate) fn write_bytes(bytes: u64) -> String {
    let binary = UNITS_BYTES.iter().take(4).rev();
    let (unit, factor) = binary
        .copied()
        .find(|(_, factor)| bytes.is_multiple_of(*factor))
        .unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

fn scale(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|symbol: char| !symbol.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_written_back() {
        for (text, ms, written) in [
            ("25s", 25_000, "25s"),
            ("120s", 120_000, "120s"),
            ("2m", 120_000, "120s"),
            ("10m", 600_000, "10m"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "90m"),
            ("1m30s", 90_000, "90s"),
            ("24h", 86_400_000, "1d"),
            ("1h", 3_600_000, "1h"),
            ("0s", 0, "0s"),
            ("1500ms", 1500, "1500ms"),
        ] {
            let duration = read_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
            assert_eq!(write_duration(duration), written, "{text}");
            assert_eq!(read_duration(written), Ok(duration));
        }
        assert!(read_duration("25").unwrap_err().contains("has no unit"));
        for bad in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "25S",
            "25sec",
            "99999999999999999999s",
            "999999999999999999h",
            "1s ",
        ] {
            assert!(read_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_read_in_both_kinds_of_units_and_written_back() {
        for (text, bytes, written) in [
            ("64KiB", 65_536, "64KiB"),
            ("65536", 65_536, "64KiB"),
            ("1 MiB", 1 << 20, "1MiB"),
            ("1MB", 1_000_000, "1000000B"),
            ("2GiB", 2 << 30, "2GiB"),
            ("100B", 100, "100B"),
        ] {
            assert_eq!(read_bytes(text), Ok(bytes), "{text}");
            assert_eq!(write_bytes(bytes), written);
            assert_eq!(read_bytes(written), Ok(bytes));
        }
        for bad in [
            "",
            "KiB",
            "-1",
            "1.5KiB",
            "64kib",
            "64K",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert!(read_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
