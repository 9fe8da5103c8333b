//! The README's table says what the code says.

#[path = "../examples/capabilities.rs"]
mod capabilities;

const README: &str = include_str!("../../README.md");

#[tokio::test]
async fn the_table_of_capabilities_is_up_to_date() {
    let table = capabilities::table().await.unwrap();
    let expected = capabilities::replace(README, &table).unwrap();
    assert!(
        expected == README,
        "README.md differs from the providers' capabilities; regenerate it:\n\n  \
         cargo run --release -p queue-runtime-core --example capabilities README.md\n"
    );
}
