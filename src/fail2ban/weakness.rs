//! What a client can do to the patterns of an imported filter. It runs all the same, since its admin has relied on it
//! until now; he is told.

use super::matcher::Rules;
use crate::filter::lint::{FAKE_ADDRESS, Fault, Finding, TRUE_ADDRESS, pasted};
use crate::text::escape;

/// A warning about patterns of which a client can choose the address that is banned, with a line that proves it of the
/// first one; `None` where no such line is found.
pub fn warning(rules: &Rules) -> Option<String> {
    let prefixed = rules.prefregex.as_deref().is_some_and(|text| !text.is_empty());
    let proven = |finding: &Finding| {
        // Where prefregex goes first, it is that which is anchored.
        finding.example.is_some() && !(prefixed && finding.fault == Fault::NoAnchor)
    };
    let patterns = rules.failregex.iter();
    let found: Vec<Finding> = patterns
        .filter_map(|pattern| pasted::pattern(pattern, "failregex", "").into_iter().find(proven))
        .collect();
    let first = found.first()?;
    let line = first.example.as_deref().unwrap_or_default();
    Some(format!(
        "{} of {} patterns can be fooled by what a client writes: {}; of this line, from {TRUE_ADDRESS}, it takes \
         {FAKE_ADDRESS}: {}",
        found.len(),
        rules.failregex.len(),
        first.fault.text(),
        escape(line),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(prefregex: Option<&str>, failregex: &[&str]) -> Rules {
        Rules {
            prefregex: prefregex.map(str::to_owned),
            failregex: failregex.iter().map(|&text| text.to_owned()).collect(),
            ..Rules::default()
        }
    }

    #[test]
    fn patterns_whose_address_a_client_chooses_are_told_with_a_line_that_does_it() {
        let fooled = rules(None, &["^login from <HOST> failed$", ": badlogin: .*\\[<HOST>\\] plaintext .*"]);
        let warning = warning(&fooled).expect("it can be fooled");
        assert!(warning.starts_with("1 of 2 patterns"), "{warning}");
        assert!(warning.contains("badlogin: ") && warning.contains("198.51.100.66"), "{warning}");
    }

    #[test]
    fn sound_patterns_and_those_that_prefregex_anchors_are_not() {
        assert_eq!(warning(&rules(None, &["^login from <HOST> failed$"])), None);
        let content = rules(Some("^server: <F-CONTENT>.+</F-CONTENT>$"), &["login from <HOST> failed$"]);
        assert_eq!(warning(&content), None);
    }
}
