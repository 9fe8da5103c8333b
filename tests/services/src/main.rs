//! `services NAME... -- COMMAND...` runs a command beside servers: the address of each is in its
//! environment, as `QRT_TEST_LOCALSTACK=http://127.0.0.1:PORT`. Servers end with the command.

use std::process::{Command, ExitCode};

use queue_runtime_services::{Service, names};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = arguments.splitn(2, |argument| argument == "--");
    let (wanted, command) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let Some((program, rest)) = command.split_first() else {
        eprintln!(
            "usage: services NAME... -- COMMAND...; there are: {}",
            names().join(", ")
        );
        return ExitCode::from(2);
    };
    let mut services = Vec::new();
    for name in wanted {
        match Service::start(name) {
            Ok(service) => services.push(service),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let addresses = services
        .iter()
        .map(|service| (service.variable(), service.endpoint()));
    let status = Command::new(program).args(rest).envs(addresses).status();
    drop(services);
    match status {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
