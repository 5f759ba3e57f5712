//! Time zones by name.

use chrono_tz::Tz;

use super::report::ReportedError;
use super::value::Value;
use crate::text::suggest;
use crate::time::zone_by_name;

/// An IANA zone, as `Europe/Madrid`.
pub(super) fn of_value(value: &Value, key: &str) -> Result<Tz, ReportedError> {
    let name = value.text(key)?;
    zone_by_name(name).ok_or_else(|| {
        let help = match suggest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "examples: Europe/Madrid, America/New_York, UTC".to_owned(),
        };
        value.error(format!("{key} {name:?} is not a zone of the IANA time zone database; {help}"))
    })
}
