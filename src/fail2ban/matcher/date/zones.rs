//! Zone abbreviations with a fixed offset, and offsets such as `+0200`.

/// Hours east of UTC, and the abbreviations in use for them. One letter is a military zone.
///
/// An abbreviation that several regions share has the one offset fail2ban gives it; summer time has its own name.
const ABBREVIATIONS: &[(f32, &str)] = &[
    (-12.0, "Y"),
    (-11.0, "NUT SST X"),
    (-10.0, "CKT HAST HST TAHT TKT W"),
    (-9.5, "MART MIT"),
    (-9.0, "AKST GAMT GIT HADT HNY V"),
    (-8.0, "AKDT CIST HAY HNP PST PT U"),
    (-7.0, "HAP HNR MST PDT T"),
    (-6.0, "CST EAST GALT HAR HNC MDT S"),
    (-5.0, "CDT COT EASST ECT EST ET HAC HNE PET R"),
    (-4.5, "HLV VET"),
    (-4.0, "AST BOT CLT COST EDT FKT GYT HAE HNA PYT Q"),
    (-3.5, "HNT NST NT"),
    (-3.0, "ADT ART BRT CLST FKST GFT HAA P PMST PYST SRT UYT WGT"),
    (-2.5, "HAT NDT"),
    (-2.0, "BRST FNT O PMDT UYST WGST"),
    (-1.0, "AZOT CVT EGT N"),
    (0.0, "EGST GMT UTC WET WT Z"),
    (1.0, "A CET DFT WAT WEDT WEST"),
    (2.0, "B CAT CEDT CEST EET SAST WAST"),
    (3.0, "C EAT EEDT EEST IDT MSK"),
    (3.5, "IRST"),
    (4.0, "AMT AZT D GET GST KUYT MSD MUT RET SAMT SCT"),
    (4.5, "AFT IRDT"),
    (5.0, "AMST AQTT AZST E HMT MAWT MVT PKT TFT TJT TMT UZT YEKT"),
    (5.5, "SLT"),
    (5.75, "NPT"),
    (6.0, "ALMT BIOT BTT F IOT KGT NOVT OMST YEKST"),
    (6.5, "CCT MMT"),
    (7.0, "CXT DAVT G HOVT ICT KRAT NOVST OMSST THA WIB"),
    (8.0, "ACT AWST BDT BNT CAST H HKT IRKT KRAST MYT PHT SGT ULAT WITA WST"),
    (9.0, "AWDT I IRKST JST KST PWT TLT WDT WIT YAKT"),
    (9.5, "ACST"),
    (10.0, "AEST ChST K PGT VLAT YAKST YAPT"),
    (10.5, "ACDT LHST"),
    (11.0, "AEDT L LHDT MAGT NCT PONT SBT VLAST VUT"),
    (11.5, "NFT"),
    (12.0, "ANAST ANAT FJT GILT M MAGST MHT NZST PETST PETT TVT WFT"),
    (13.0, "FJST NZDT"),
];

/// The offset of `text` in minutes east of UTC: `UTC`, `Z`, `CET`, `+02`, `+02:00`, `GMT-0330`.
///
/// `None` for anything else; named zones such as `Europe/Madrid` are not among them.
pub fn offset_minutes(text: &str) -> Option<i32> {
    let (name, offset) = text.split_at(text.find(['+', '-']).unwrap_or(text.len()));
    if text.is_empty() {
        return None;
    }
    let base = match name {
        "" => 0,
        name => {
            let known = ABBREVIATIONS.iter().find(|(_, names)| names.split(' ').any(|known| known == name));
            (known?.0 * 60.0) as i32
        }
    };
    if offset.is_empty() {
        return Some(base);
    }
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset[1..].chars().filter(|&c| c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    Some(base + sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_fixed_offsets() {
        for (text, minutes) in
            [("Z", 0), ("CET", 60), ("+02", 120), ("-03:30", -210), ("UTC+0100", 60), ("NPT", 345)]
        {
            assert_eq!(offset_minutes(text), Some(minutes), "{text}");
        }
        for text in ["", "Europe/Madrid", "cet", "+2", "+02:0"] {
            assert_eq!(offset_minutes(text), None, "{text}");
        }
    }
}
