//! Link arguments of the extension module.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The C symbols inside are this module's own: another copy in the process must not find
        // them, nor these another's.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        // The library has threads: it must stay.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("macos") {
        // The interpreter brings its symbols.
        println!("cargo:rustc-cdylib-link-arg=-undefined");
        println!("cargo:rustc-cdylib-link-arg=dynamic_lookup");
    }
}
