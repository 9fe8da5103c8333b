//! What the tests share: servers, proxies, clients and a stranger.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use queue_runtime_core::{
    Client, Clock, Delivery, Queue, QueueOptions, ReceiveOptions, Result, Retry, Runtime,
    RuntimeConfig,
};
use queue_runtime_services::{Fault, Proxy, Service};

/// Starts a server at its first use. It ends with this process.
fn server(name: &'static str, cell: &'static OnceLock<Service>) -> &'static Service {
    cell.get_or_init(|| Service::start(name).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// The quick one.
pub fn ministack() -> &'static Service {
    static SERVER: OnceLock<Service> = OnceLock::new();
    server("ministack", &SERVER)
}

/// The thorough one.
pub fn localstack() -> &'static Service {
    static SERVER: OnceLock<Service> = OnceLock::new();
    server("localstack", &SERVER)
}

/// A client and its runtime.
pub struct Kit {
    pub runtime: Runtime,
    pub client: Client,
}

impl Kit {
    /// A client of this server. `options` begin with `&`.
    pub fn new(endpoint: &str, options: &str) -> Self {
        Self::on(Clock::system(), endpoint, options)
    }

    /// A client of this server that follows this clock.
    pub fn on(clock: Clock, endpoint: &str, options: &str) -> Self {
        let runtime = Runtime::with_clock(RuntimeConfig::default(), clock).unwrap();
        let client = runtime.block_on(runtime.connect(url(endpoint, options)));
        Self {
            client: client.unwrap().unwrap(),
            runtime,
        }
    }

    /// A client of a server behind a proxy.
    pub fn behind_proxy(server: &Service, options: &str) -> (Self, Proxy) {
        let proxy = Proxy::before(server.port()).unwrap();
        (Self::new(&proxy.endpoint(), options), proxy)
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    /// A queue that is there, whose nacked messages are back at once.
    pub fn queue(&self, name: &str) -> Queue {
        let queue = self.open(name);
        self.run(queue.create()).unwrap();
        queue
    }

    /// A queue of a client, as it is.
    pub fn open(&self, name: &str) -> Queue {
        let options = QueueOptions {
            retry: Some(Retry::None),
            ..QueueOptions::default()
        };
        self.client.queue_with(name, options).unwrap()
    }

    /// Receives until so many have come, or nothing comes any more.
    pub fn receive(&self, queue: &Queue, wanted: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < wanted {
            let missing = (wanted - deliveries.len()) as u32;
            let options = ReceiveOptions::new().max_messages(missing).wait(seconds(4));
            let came = self.run(queue.receive(&options)).unwrap();
            if came.is_empty() {
                break;
            }
            deliveries.extend(came);
        }
        deliveries
    }

    /// The bodies of what is received.
    pub fn bodies(&self, queue: &Queue, wanted: usize) -> Vec<String> {
        self.receive(queue, wanted).iter().map(body).collect()
    }
}

/// A client whose time stands still, behind a proxy.
pub fn still(options: &str) -> (Kit, Proxy, Clock) {
    let clock = Clock::new_virtual();
    let proxy = Proxy::before(ministack().port()).unwrap();
    let kit = Kit::on(clock.clone(), &proxy.endpoint(), options);
    (kit, proxy, clock)
}

/// The provider says that it is away.
pub fn away() -> Fault {
    Fault::Answer(503, String::new())
}

#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + seconds(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn url(endpoint: &str, options: &str) -> String {
    format!(
        "sqs://us-east-1?endpoint={endpoint}&access_key_id=test&secret_access_key=hunter2{options}"
    )
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.body()).into_owned()
}

/// Looks once.
pub fn look() -> ReceiveOptions {
    ReceiveOptions::new().wait(Duration::ZERO).max_messages(10)
}

/// Every result of a batch.
pub fn all<T>(results: Result<Vec<Result<T>>>) -> Vec<T> {
    results.unwrap().into_iter().map(Result::unwrap).collect()
}

/// Runs a script of AWS's own client for Python, which has `sqs` and `json`. Answers its output.
pub fn boto3(server: &Service, script: &str) -> String {
    let setup = format!(
        "import boto3, json, sys\n\
         sqs = boto3.client('sqs', endpoint_url={:?}, region_name='us-east-1', \
         aws_access_key_id='test', aws_secret_access_key='test')\n",
        server.endpoint()
    );
    let output = Command::new(server.python())
        .arg("-c")
        .arg(setup + script)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
