//! Values of options, as people type them.

use chrono_tz::Tz;

use crate::time::{Span, parse_span, zone_by_name};

/// `30m` in seconds; must end.
pub fn seconds(text: &str) -> Result<u64, String> {
    match parse_span(text) {
        Ok(Span::For(length)) if length.as_secs() > 0 => Ok(length.as_secs()),
        Ok(_) => Err("must be longer than 0 and end; examples: 600, 30m, 1h 30m".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `1h` in seconds; -1 for ever.
pub fn span_secs(text: &str) -> Result<f64, String> {
    match parse_span(text) {
        Ok(Span::For(length)) if length.is_zero() => Err("must be longer than 0".to_owned()),
        Ok(Span::For(length)) => Ok(length.as_secs_f64()),
        Ok(Span::Forever) => Ok(-1.0),
        Err(error) => Err(error.to_string()),
    }
}

/// `Europe/Madrid`.
pub fn timezone(name: &str) -> Result<Tz, String> {
    zone_by_name(name).ok_or_else(|| "no such time zone; example: Europe/Madrid".to_owned())
}
