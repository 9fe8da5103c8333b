//! Writes `include/queue_runtime.h` and `ffi/symbols.txt` from the sources. Called by `make header`.

use std::path::{Path, PathBuf};

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the header is.
pub fn header_path() -> PathBuf {
    crate_folder().join("../include/queue_runtime.h")
}

/// Where the list of exported functions is.
pub fn symbols_path() -> PathBuf {
    crate_folder().join("symbols.txt")
}

/// The header's text.
pub fn header() -> String {
    let config = cbindgen::Config::from_file(crate_folder().join("cbindgen.toml"))
        .expect("cbindgen.toml is good");
    let bindings = cbindgen::Builder::new()
        .with_crate(crate_folder())
        .with_config(config)
        .generate()
        .expect("the sources of the ABI can be read");
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).expect("the header is UTF-8")
}

/// The functions a header declares, sorted, a line each.
pub fn symbols(header: &str) -> String {
    let mut names: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '/', '*', '#']) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("qrt_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| format!("{name}\n")).collect()
}

#[allow(dead_code)] // the tests use the rest
fn main() {
    let header = header();
    write(&symbols_path(), &symbols(&header));
    write(&header_path(), &header);
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
