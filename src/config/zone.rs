//! Time zones by name.

use std::fs;

use chrono_tz::Tz;

use super::report::ReportedError;
use super::value::Value;
use crate::text::suggest;

/// An IANA zone, as `Europe/Madrid`.
pub(super) fn of_value(value: &Value, key: &str) -> Result<Tz, ReportedError> {
    let name = value.text(key)?;
    name.parse().map_err(|_| {
        let help = match suggest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "examples: Europe/Madrid, America/New_York, UTC".to_owned(),
        };
        value.error(format!("{key} {name:?} is not a zone of the IANA time zone database; {help}"))
    })
}

/// The system's zone: `TZ`, else where /etc/localtime points, else /etc/timezone, else UTC.
pub fn system_timezone() -> Tz {
    let from_environment = std::env::var("TZ").ok();
    let from_link = || Some(fs::read_link("/etc/localtime").ok()?.to_str()?.to_owned());
    let from_file = || fs::read_to_string("/etc/timezone").ok();
    let zone = |text: String| zone_of_path(&text);
    from_environment
        .and_then(zone)
        .or_else(|| from_link().and_then(zone))
        .or_else(|| from_file().and_then(zone))
        .unwrap_or(Tz::UTC)
}

/// `Europe/Madrid`, `:Europe/Madrid`, `/usr/share/zoneinfo/Europe/Madrid`, `../usr/share/zoneinfo/posix/UTC`.
fn zone_of_path(text: &str) -> Option<Tz> {
    let name = text.trim().trim_start_matches(':');
    let name = name.rsplit_once("zoneinfo/").map_or(name, |(_, name)| name);
    let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_in_every_spelling_that_systems_use() {
        for text in [
            "Europe/Madrid",
            ":Europe/Madrid",
            "/usr/share/zoneinfo/Europe/Madrid",
            "../usr/share/zoneinfo/posix/Europe/Madrid",
            "Europe/Madrid\n",
        ] {
            assert_eq!(zone_of_path(text), Some(Tz::Europe__Madrid), "{text}");
        }
        assert_eq!(zone_of_path("/etc/adjtime"), None);
        assert_eq!(zone_of_path(""), None);
    }
}
