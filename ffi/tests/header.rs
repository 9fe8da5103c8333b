//! The committed header and symbol list are those of the sources.

#[allow(dead_code)]
#[path = "../examples/header.rs"]
mod header;

const HOW: &str = "run `make header` and commit what it changes";

#[test]
fn the_header_is_that_of_the_sources() {
    let committed = std::fs::read_to_string(header::header_path()).expect(HOW);
    assert!(
        committed == header::header(),
        "the header is out of date: {HOW}"
    );
}

#[test]
fn the_symbols_are_those_of_the_header() {
    let committed = std::fs::read_to_string(header::symbols_path()).expect(HOW);
    assert_eq!(committed, header::symbols(&header::header()), "{HOW}");
    assert!(committed.lines().count() > 80, "the list is whole");
}
