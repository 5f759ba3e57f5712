//! A reader of fail2ban's configuration: files, INI dialect, `%(...)s`, `<tag>`, into one [`jail::Jail`] for
//! every jail that fail2ban would run. Pure but for reading the files; nothing is executed or evaluated.
//!
//! ```text
//! files --Config--> interpolate --text--> tags --text--> jail --Import--> banctl import, config (to run it)
//! ```
//! [`matcher`] runs the filters of such a jail, [`set`] all those of one log at once.

pub mod client;
pub mod database;
pub mod definition;
pub mod dialect;
pub mod effect;
pub mod encoding;
pub mod files;
pub mod ini;
pub mod interpolate;
pub mod jail;
pub mod log;
pub mod main_conf;
pub mod matcher;
pub mod native;
pub mod note;
pub mod options;
pub mod prefilter;
pub mod programs;
pub mod reader;
pub mod regex;
pub mod remarks;
pub mod section;
pub mod set;
pub mod shadow;
pub mod tags;
pub mod time;
pub mod weakness;

/// A text grown by references beyond this is refused. Bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
