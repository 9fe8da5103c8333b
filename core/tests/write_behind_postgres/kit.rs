//! The server, and one test's table on it.

use super::*;

/// The server all tests share; those that stop one start their own.
fn server() -> Arc<Server> {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    SERVER.get_or_init(|| start(&[])).clone()
}

pub fn start(settings: &[&str]) -> Arc<Server> {
    let missing = "PostgreSQL is needed: scripts/setup installs it";
    Arc::new(Server::start(settings).expect(missing))
}

/// One test's table, and a connection beside the one under test.
pub struct Kit {
    pub server: Arc<Server>,
    pub runtime: Runtime,
    pub sql: tokio_postgres::Client,
    pub table: String,
}

impl Kit {
    /// A table of these columns, by a name of its own: `{t}` stands for it.
    pub fn new(columns: &str) -> Self {
        Self::on(server(), columns)
    }

    pub fn on(server: Arc<Server>, columns: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let sql = connect(&runtime, &server);
        let table = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let kit = Self {
            server,
            runtime,
            sql,
            table,
        };
        kit.run(&format!("CREATE TABLE {{t}} ({columns})"));
        kit
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        let sql = sql.replace("{t}", &self.table);
        self.wait(self.sql.batch_execute(&sql)).unwrap();
    }

    /// The one value of a query, as text.
    pub fn ask(&self, sql: &str) -> String {
        let sql = sql.replace("{t}", &self.table);
        let row = self.wait(self.sql.query_one(&format!("SELECT ({sql})::text"), &[]));
        row.unwrap()
            .get::<_, Option<String>>(0)
            .unwrap_or("NULL".into())
    }

    pub fn options(&self, key: &str) -> WriteBehindOptions {
        WriteBehindOptions {
            sink: Some(self.server.url.as_str().into()),
            table: Some(self.table.clone()),
            key: Some(key.split(',').map(str::to_owned).collect()),
            retry: Some(Retry::Fixed {
                delay: Duration::from_millis(20),
            }),
            breaker: Some("none".parse().unwrap()),
            flush_interval: Some(HOUR),
            ..WriteBehindOptions::default()
        }
    }

    pub fn open(&self, options: WriteBehindOptions) -> Result<WriteBehind> {
        self.wait(WriteBehind::open(&self.runtime, options))
    }

    pub fn writer(&self, key: &str) -> WriteBehind {
        self.open(self.options(key)).unwrap()
    }

    pub fn enqueue(&self, sut: &WriteBehind, entry: Value) {
        self.wait(sut.enqueue(entry.to_string())).unwrap();
    }

    pub fn flush(&self, sut: &WriteBehind) {
        self.wait(sut.flush()).unwrap();
    }

    /// Begins to flush, and goes on.
    pub fn start_flush(&self, sut: &WriteBehind) -> JoinHandle<Result<()>> {
        let sut = sut.clone();
        self.runtime
            .handle()
            .spawn(async move { sut.flush().await })
    }

    /// Writes one entry, and gives why it was rejected, if it was.
    pub fn write(&self, sut: &WriteBehind, entry: Value) -> Option<(String, String)> {
        self.enqueue(sut, entry);
        self.flush(sut);
        let rejected = sut.take_rejected().pop()?;
        Some((
            rejected.reason.to_string(),
            rejected.description.to_string(),
        ))
    }

    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let bounded = async { tokio::time::timeout(STUCK, future).await };
        self.runtime.block_on(bounded).unwrap().expect("it hangs")
    }
}

pub fn connect(runtime: &Runtime, server: &Server) -> tokio_postgres::Client {
    let url = server.url.split('?').next().unwrap();
    let connecting = async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    };
    runtime.block_on(connecting).unwrap()
}
