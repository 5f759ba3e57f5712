use proptest::prelude::*;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::*;

/// Groups as the general engine finds them, or `None` for no match.
fn wanted(regex: &str, text: &[u8]) -> Option<Vec<Option<usize>>> {
    let config = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
    let thompson = regex_automata::nfa::thompson::Config::new().utf8(false);
    let vm = PikeVM::builder().syntax(config).thompson(thompson).build(regex).unwrap();
    let mut cache = vm.create_cache();
    let mut slots = vec![None; vm.get_nfa().group_info().slot_len()];
    let input = Input::new(text).anchored(Anchored::Yes);
    vm.search_slots(&mut cache, &input, &mut slots)?;
    Some(slots[2..].iter().map(|slot| slot.map(NonMaxUsize::get)).collect())
}

fn got(regex: &str, text: &[u8]) -> Result<Option<Vec<Option<usize>>>, Outcome> {
    let hir = crate::filter::tree::parse(regex).unwrap();
    let groups: Vec<usize> = (1..=hir.properties().explicit_captures_len()).collect();
    let program = Program::new(&hir, &groups).ok_or(Outcome::Costly)?;
    let mut slots = Vec::new();
    match program.run(&mut ProgramCache::default(), text, &mut slots) {
        Outcome::Match => Ok(Some(slots.iter().skip(2).map(|slot| slot.map(NonMaxUsize::get)).collect())),
        Outcome::NoMatch => Ok(None),
        Outcome::Costly => Err(Outcome::Costly),
    }
}

#[test]
fn the_match_is_the_general_engines() {
    let regexes = [
        "(a*)(ab)*(b*)$",
        "user=<(.*)>, rip=([0-9a-f:.]+), (?:TLS, )?session=<(.*)>$",
        "(?:(x)|(xy))(z?)$",
        "([^ ]*?) from ([0-9]{1,3}(?:\\.[0-9]{1,3}){3})(?: port ([0-9]+))?(?: ssh2)?$",
        "((?:[^\"\\\\]|\\\\.)*)\"(.*)$",
        "(a|ab)(c|bcd)(d*)$",
        "(?:a{2,3}?)(a*)$",
        "(a+?)(a+)$",
        "^(a)|b$",
        "(?i:AbC)(.?)$",
        "\\b(a+)\\b (.*)$",
        "(?:(a)|b)*(c)$",
        "[a-c]{0,3}(c)$",
        "(?:ab?){2,3}(b*)$",
        "((?:[a-c]|c?d)*)(c.*)$",
        "(?:a|b|c|d|e|f|g|h|i|jk|(x))(y?)(.*)$",
        "(a.*?)(?:b(.*))?$",
        "(a.*)(?:[bc](.*))?$",
    ];
    let texts = [
        "",
        "a",
        "ab",
        "abab",
        "aabbb",
        "user=<x>, rip=1.2.3.4, session=<y>",
        "user=<a>, rip=1.1.1.1, session=<b>, rip=2.2.2.2, TLS, session=<c>",
        "xyz",
        "xz",
        "xy",
        "bob from 1.2.3.4 from 5.6.7.8 port 22 ssh2",
        "a\\\"b\"c",
        "abcd",
        "acd",
        "abbcd",
        "aaaa",
        "aaaaa",
        "b",
        "aBcd",
        "ABC",
        "aa b",
        "abac",
        "abc",
        "bbc",
        "cc",
        "ccc",
        "cccc",
        "abaab",
        "ababb",
    ];
    for regex in regexes {
        for text in texts {
            assert_eq!(
                got(regex, text.as_bytes()),
                Ok(wanted(regex, text.as_bytes())),
                "{regex} on {text:?}"
            );
        }
    }
}

#[test]
fn what_would_go_back_for_ever_is_left_to_others() {
    let text = "a".repeat(4000);
    assert_eq!(got("(?:a|aa)+b", text.as_bytes()), Err(Outcome::Costly));
    assert_eq!(got(".*x", text.as_bytes()), Ok(None));
}

/// Regexes with `<HOST>` in them, as patterns of filters have it.
fn around_host() -> [String; 5] {
    use crate::filter::compile::HOST;
    [
        format!("x \\[({HOST})\\](.*)$"),
        format!("x ({HOST})(?::[0-9]+)?$"),
        format!("(?:y|x )({HOST})(?:, (.*)|)$"),
        format!("x (?:({HOST})|([^ ]*)) z$"),
        format!("x ({HOST})[.]?$"),
    ]
}

#[test]
fn an_address_is_one_instruction_where_nothing_can_go_on_with_it() {
    let single = |regex: &str| {
        let hir = crate::filter::tree::parse(regex).unwrap();
        let program = Program::new(&hir, &[1]).unwrap();
        program.code.iter().any(|instruction| matches!(instruction, Instruction::Address { .. }))
    };
    assert_eq!(around_host().map(|regex| single(&regex)), [true, false, true, true, false]);
}

fn regex_part() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("ab".to_owned()),
        Just(".".to_owned()),
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just("c".to_owned()),
        Just("[bc]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| format!("(?:{})", parts.join("|"))),
            inner.clone().prop_map(|part| format!("({part})")),
            (inner, 0..8usize).prop_map(|(part, how)| {
                let how = ["*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}"][how];
                format!("(?:{part}){how}")
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_pattern_matches_as_in_the_general_engine(regex in regex_part(), end in any::<bool>(), text in "[abc]{0,12}") {
        let regex = if end { format!("{regex}$") } else { regex };
        if let Ok(found) = got(&regex, text.as_bytes()) {
            prop_assert_eq!(found, wanted(&regex, text.as_bytes()), "{}", regex);
        }
    }

    #[test]
    fn an_address_is_read_as_by_the_general_engine(
        which in 0..5usize,
        text in "(x |y)\\[?(IPv6:)?([0-9.:a-f]{0,12}|[0-9]{1,4}(\\.[0-9]{1,4}){2,4}|[0-9a-f:]{40,50})(%[a-z_.-]{0,18})?\\]?(:25|, q|\\.| z|\\])?",
    ) {
        let regex = &around_host()[which];
        if let Ok(found) = got(regex, text.as_bytes()) {
            prop_assert_eq!(found, wanted(regex, text.as_bytes()), "{} on {:?}", regex, text);
        }
        let program = Program::new(&crate::filter::tree::parse(regex).unwrap(), &[1]).unwrap();
        let (mut cache, mut slots) = (ProgramCache::default(), Vec::new());
        if program.run(&mut cache, text.as_bytes(), &mut slots) == Outcome::Match
            && let (Some(start), Some(end)) = (slots[2], slots[3])
        {
            let range = start.get()..end.get();
            if let Some(host) = cache.address(&range) {
                prop_assert_eq!(Some(host), crate::filter::peer::host(text[range].as_bytes()), "{}", text);
            }
        }
    }
}
