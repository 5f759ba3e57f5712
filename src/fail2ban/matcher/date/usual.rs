//! The templates of a log that brings none of its own, and those that filters share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::template::{DateError, LINE_BEGIN, Template};

/// Stamps looked for when no `datepattern` is set, in this order.
pub const DEFAULTS: [&str; 17] = [
    // 2005-01-23T21:59:59.981+02:00, 2005/01/23 21:59:59, 2005.01.23 21:59:59
    r"(?:%ExY-%m-%d|%ExY/%m/%d|%ExY\.%m\.%d)(?:T| {1,2})%H:%M:%S(?:[.,]%f)?(?:\s*%z)?",
    // Sun Jan 23 21:59:59.011 2005
    r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    // Sun Jan 23 2005 21:59:59.011
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",
    // 23/01/2005 21:59:59, 23-01-05 21:59:59
    r"(?:%d-%m-|%d/%m/)(?:%ExY|%Exy) %k:%M:%S",
    // 31/Oct/2006:09:22:55 -0000, 26-Jul-2007 15:20:52.252
    r"(?:%d-%b-|%d/%b/)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?",
    // 05/20/2008:01:57:39
    r"%m/%d/%ExY:%H:%M:%S",
    // 01-27-2012 16:22:44.252
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",
    "EPOCH",
    // 21:59:59
    r"{^LN-BEG}%H:%M:%S",
    // <09/16/08@05:03:30>
    r"^<%m/%d/%Exy@%H:%M:%S>",
    // 130322 11:46:11
    r"%Exy%Exm%Exd {1,2}%H:%M:%S",
    // Jan 23, 2005 9:59:59 PM
    r"%b %d, %ExY %I:%M:%S %p",
    // Apr-27-13 02:33:06
    r"^%b-%d-%Exy %k:%M:%S",
    // 20050123T215959, 20050123 215959
    r"%ExY%Exm%Exd(?:T| {1,2})%ExH%ExM%ExS(?:[.,]%f)?(?:\s*%z)?",
    // PDT Apr 16 21:05:29
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    // +00:00 Jan 23 21:59:59.011 2005
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    "TAI64N",
];

/// What a default that is also tried bound to the line's begin weighs there.
const LINE_BEGIN_WEIGHT: f64 = 100.0;
/// Templates in use, by pattern, decade and weight: most patterns bring the usual ones, which take long to read.
static TEMPLATES: Mutex<Vec<Weak<Template>>> = Mutex::new(Vec::new());

/// All defaults: first those bound to the line's begin, then as they are.
pub fn defaults(decade_max: u8) -> Result<Vec<Arc<Template>>, DateError> {
    let mut bound = Vec::new();
    let mut free = Vec::new();
    for pattern in DEFAULTS {
        if !pattern.starts_with('^') && !pattern.starts_with(LINE_BEGIN) {
            bound.push(shared(&format!("{LINE_BEGIN}{pattern}"), decade_max, LINE_BEGIN_WEIGHT)?);
        }
        free.push(shared(pattern, decade_max, 1.0)?);
    }
    bound.append(&mut free);
    Ok(bound)
}

/// The template of `pattern`; one that is in use is shared.
pub fn shared(pattern: &str, decade_max: u8, weight: f64) -> Result<Arc<Template>, DateError> {
    let mut known = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|template| template.strong_count() > 0);
    let same = |template: &Arc<Template>| template.is_of(pattern, decade_max) && template.weight == weight;
    if let Some(template) = known.iter().filter_map(Weak::upgrade).find(same) {
        return Ok(template);
    }
    let mut template = Template::new(pattern, decade_max)?;
    template.weight = weight;
    let template = Arc::new(template);
    known.push(Arc::downgrade(&template));
    Ok(template)
}

/// `{DATE}`, in any letter case and not after a backslash, replaced.
pub fn replace_date(pattern: &str, by: &str) -> String {
    let date = fancy_regex::Regex::new(r"(?i)(?<!\\)\{DATE\}").expect("a fixed pattern");
    date.replace_all(pattern, fancy_regex::NoExpand(by)).into_owned()
}
