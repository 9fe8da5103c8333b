//! Link arguments of the addon.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // What Node's own tools ask for; where it matters, also that the addon, which has threads,
    // stays in memory when the last environment that loaded it ends.
    napi_build::setup();
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The C ABI is for this addon alone, not for whatever else is loaded beside it.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
