//! Builds the shipped filters and jails into the binary: `src/shipped.rs` includes the list made here, so that
//! adding one means adding its file and nothing else. Tells the linker to keep the code of a ban together.

use std::fmt::Write;
use std::path::Path;

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let mut code = String::new();
    for (list, folder) in [("FILTERS", "filters"), ("JAILS", "jails")] {
        println!("cargo::rerun-if-changed={folder}");
        let mut names: Vec<String> = std::fs::read_dir(Path::new(&root).join(folder))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
            .collect();
        names.sort();
        writeln!(code, "pub static {list}: &[(&str, &str)] = &[").expect("a String takes all");
        for name in names {
            let path = Path::new(&root).join(folder).join(format!("{name}.toml"));
            let path = path.to_str().expect("a UTF-8 path");
            println!("cargo::rerun-if-changed={path}");
            writeln!(code, "    ({name:?}, include_str!({path:?})),").expect("a String takes all");
        }
        code.push_str("];\n");
    }
    std::fs::write(Path::new(&out).join("shipped.rs"), code).expect("OUT_DIR is writable");
    lay_out(Path::new(&root));
}

/// Has the linker put the functions of `src/ban.ld` in one piece: where `src/sys/hot.rs` makes use of it, and where the
/// linker is one that knows how. PORTERO_LAYOUT=0 leaves it out, for another linker.
fn lay_out(root: &Path) {
    let script = root.join("src/ban.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rerun-if-env-changed=PORTERO_LAYOUT");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let wanted = std::env::var("PORTERO_LAYOUT").map_or(true, |wish| wish != "0");
    if wanted && target("OS") == "linux" && target("ARCH") == "x86_64" {
        println!("cargo::rustc-link-arg=-Wl,-T,{}", script.display());
    }
}
