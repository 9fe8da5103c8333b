//! Compiles the loops that are written in C.

fn main() {
    println!("cargo:rerun-if-changed=src/c/loops.c");
    println!("cargo:rerun-if-changed=../../include/queue_runtime.h");
    cc::Build::new()
        .file("src/c/loops.c")
        .include("../../include")
        .std("c11")
        .warnings_into_errors(true)
        .compile("loops");
}
