//! Where the linker put the code of a ban: in one piece, all that `src/ban.ld` names, and not much more.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use elf::ElfStream;
use elf::endian::AnyEndian;
use portero::sys::hot::{HotCode, SECTION};
use regex::RegexSet;

/// What it may be in a build without optimisation. Bytes.
const SECTION_BYTES_MAX: u64 = 400 * 1024;

/// The patterns of the linker's script, without the name of the section that a function alone is in.
fn patterns() -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ban.ld");
    let script = fs::read_to_string(script).unwrap();
    let lines = script.lines().filter_map(|line| line.trim().strip_prefix("*(.text.")?.strip_suffix(")"));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_code_of_a_ban_stands_in_one_piece_and_every_line_of_the_script_names_some_of_it() {
    let program = File::open(env!("CARGO_BIN_EXE_portero")).unwrap();
    let mut program = ElfStream::<AnyEndian, _>::open_stream(program).unwrap();
    let section = *program.section_header_by_name(SECTION).unwrap().expect("PORTERO_LAYOUT=0 leaves it out");
    assert!(section.sh_size <= SECTION_BYTES_MAX, "{} bytes", section.sh_size);
    let inside = section.sh_addr..section.sh_addr + section.sh_size;

    let (symbols, names) = program.symbol_table().unwrap().expect("a build for tests has symbols");
    let patterns = patterns();
    let as_regex = |pattern: &String| pattern.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    let known = RegexSet::new(patterns.iter().map(as_regex)).unwrap();
    let mut unused: BTreeSet<usize> = (0..patterns.len()).collect();
    for symbol in symbols.iter().filter(|symbol| symbol.st_symtype() == elf::abi::STT_FUNC) {
        let name = names.get(symbol.st_name as usize).unwrap();
        for pattern in known.matches(name) {
            assert!(inside.contains(&symbol.st_value), "{name} is not in the section");
            unused.remove(&pattern);
        }
    }
    let unused: Vec<&String> = unused.into_iter().map(|pattern| &patterns[pattern]).collect();
    assert!(unused.is_empty(), "these name no function, whose names have changed perhaps: {unused:#?}");
}

#[test]
fn a_running_program_finds_its_own() {
    let hot = HotCode::find();
    let known = portero::jail::Jails::attempt as *const () as usize;
    assert!(hot.addresses().contains(&known), "{known:x} of {:x?}", hot.addresses());
    hot.fetch();
}
