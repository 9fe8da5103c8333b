//! Prints what each built-in provider can do, as the table of the README.
//!
//! `capabilities README.md` puts the table into the file, between its markers.

use std::error::Error;
use std::fmt::Display;
use std::io::ErrorKind;
use std::time::Duration;

use queue_runtime_core::{Capabilities, Capability, SCHEMES, Support, connect};

const BEGIN: &str = "<!-- capabilities: begin -->\n";
const END: &str = "<!-- capabilities: end -->";

#[tokio::main]
#[allow(dead_code)] // a test includes this file for its table
async fn main() -> Result<(), Box<dyn Error>> {
    let table = table().await?;
    match std::env::args().nth(1) {
        Some(file) => {
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(file, replace(&text, &table)?)?;
        }
        None => print!("{table}"),
    }
    Ok(())
}

/// A row for each capability and limit, a column for each provider.
pub async fn table() -> queue_runtime_core::Result<String> {
    let mut heads = Vec::new();
    let mut providers = Vec::new();
    for (head, url) in SCHEMES.iter().flat_map(|scheme| columns(scheme)) {
        let client = connect(url.as_str()).await?;
        heads.push(head);
        providers.push(client.capabilities().clone());
    }
    // A thread of the store may still put a file back.
    while std::fs::remove_dir_all(folder()).is_err_and(|e| e.kind() == ErrorKind::DirectoryNotEmpty)
    {
    }
    let heads = heads.iter();
    let mut table = row("capability", heads) + &row("---", providers.iter().map(|_| "---"));
    for capability in Capability::ALL {
        let cells = providers.iter().map(|p| support(p.support(capability)));
        table += &row(&format!("`{capability}`"), cells);
    }
    for (name, limit) in LIMITS {
        table += &row(name, providers.iter().map(limit));
    }
    Ok(table)
}

/// Where the store is whose capabilities are asked for.
fn folder() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("qrt-capabilities-{}", std::process::id()))
}

/// Head and URL of each column of a provider.
fn columns(scheme: &str) -> Vec<(String, String)> {
    match scheme {
        "sqs" => [("", "false"), (" FIFO", "true")]
            .map(|(kind, fifo)| {
                (
                    format!("`sqs:`{kind}"),
                    format!("sqs://us-east-1?fifo={fifo}"),
                )
            })
            .to_vec(),
        "file" => vec![("`file:`".into(), format!("file://{}", folder().display()))],
        _ => vec![(format!("`{scheme}:`"), format!("{scheme}:"))],
    }
}

/// The text with this table between its markers.
pub fn replace(text: &str, table: &str) -> Result<String, &'static str> {
    let (before, rest) = text
        .split_once(BEGIN)
        .ok_or("the first marker is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the second marker is missing")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

type Limit = fn(&Capabilities) -> String;

const LIMITS: [(&str, Limit); 6] = [
    ("largest message", |p| bytes(p.limits().message_bytes)),
    ("messages in one send", |p| number(p.limits().send_batch)),
    ("messages in one receive", |p| {
        number(p.limits().receive_batch)
    }),
    ("longest delay", |p| duration(p.limits().delay)),
    ("longest lock", |p| duration(p.limits().lock)),
    ("headers of a message", |p| number(p.limits().headers)),
];

fn support(support: Support) -> &'static str {
    match support {
        Support::Native => "native",
        Support::Emulated => "emulated",
        Support::Unsupported => "–",
    }
}

fn number(limit: Option<u32>) -> String {
    limit.map_or("no limit".to_owned(), |n| n.to_string())
}

fn bytes(limit: Option<u64>) -> String {
    limit.map_or("no limit".to_owned(), |n| format!("{} KiB", n / 1024))
}

fn duration(limit: Option<Duration>) -> String {
    limit.map_or("no limit".to_owned(), |d| {
        humantime::format_duration(d).to_string()
    })
}

fn row(name: &str, cells: impl Iterator<Item = impl Display>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.to_string()).collect();
    format!("| {name} | {} |\n", cells.join(" | "))
}
