//! A server as a child process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a start is tried: somebody else may take the free port first.
const STARTS: u32 = 3;

/// Runs a command until it ends, or until the input does, which comes with the end of the process
/// that holds its other side. One that does not end when it is told to is killed.
const SUPERVISE: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -TERM $child; sleep 5; kill -KILL $child; } 2>/dev/null &
waiter=$!
wait $child
kill $waiter 2>/dev/null
"#;

/// What is known of a server.
struct Recipe {
    name: &'static str,
    /// What pip installs.
    requirements: &'static str,
    /// The program, in the environment's `bin`, and its arguments.
    command: &'static [&'static str],
    /// Its environment; `{port}` and `{folder}` are put in.
    environment: &'static [(&'static str, &'static str)],
    /// The path that answers when it is ready.
    health: &'static str,
}

const RECIPES: &[Recipe] = &[
    Recipe {
        name: "ministack",
        requirements: include_str!("../ministack.txt"),
        command: &["ministack"],
        environment: &[("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", "{port}")],
        health: "/_ministack/health",
    },
    Recipe {
        name: "localstack",
        requirements: include_str!("../localstack.txt"),
        command: &["python", "-m", "localstack.runtime.main"],
        environment: &[
            ("HOME", "{folder}"),
            ("FILESYSTEM_ROOT", "{folder}"),
            // Its own server takes the port of every address.
            ("GATEWAY_SERVER", "hypercorn"),
            ("GATEWAY_LISTEN", "127.0.0.1:{port}"),
            ("LOCALSTACK_HOST", "127.0.0.1:{port}"),
            ("SERVICES", "sqs"),
            ("EAGER_SERVICE_LOADING", "1"),
            ("STRICT_SERVICE_LOADING", "1"),
            ("DISABLE_EVENTS", "1"),
            ("SKIP_SSL_CERT_DOWNLOAD", "1"),
            ("DNS_ADDRESS", "0"),
            ("LS_LOG", "warn"),
            ("SQS_ENDPOINT_STRATEGY", "path"),
            ("SQS_DELAY_PURGE_RETRY", "1"),
            ("SQS_DELAY_RECENTLY_DELETED", "1"),
            ("SQS_ENABLE_MESSAGE_RETENTION_PERIOD", "1"),
            ("SQS_DISABLE_CLOUDWATCH_METRICS", "1"),
        ],
        health: "/_localstack/health",
    },
];

/// The servers there are.
pub fn names() -> Vec<&'static str> {
    RECIPES.iter().map(|recipe| recipe.name).collect()
}

/// A server while it runs.
pub struct Service {
    name: &'static str,
    environment: PathBuf,
    port: u16,
    folder: PathBuf,
    child: Child,
    /// The server ends when this does.
    life: Option<ChildStdin>,
}

impl Service {
    /// Starts a server of this name; installs it first if need be.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing.
    pub fn start(name: &str) -> Result<Self, String> {
        let recipe = RECIPES.iter().find(|recipe| recipe.name == name);
        let recipe = recipe
            .ok_or_else(|| format!("there is no such server; there are: {}", names().join(", ")))?;
        let environment = install(recipe)?;
        let mut last = String::new();
        for _ in 0..STARTS {
            match Self::start_once(recipe, &environment) {
                Ok(service) => return Ok(service),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start_once(recipe: &'static Recipe, environment: &Path) -> Result<Self, String> {
        let port = free_port().map_err(|e| format!("no free port: {e}"))?;
        let folder =
            std::env::temp_dir().join(format!("qrt-{}-{}-{port}", recipe.name, std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let log = File::create(folder.join("log")).map_err(|e| e.to_string())?;
        let also = log.try_clone().map_err(|e| e.to_string())?;
        let fill = |text: &str| {
            text.replace("{port}", &port.to_string())
                .replace("{folder}", &folder.to_string_lossy())
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", SUPERVISE])
            .arg(recipe.name)
            .arg(environment.join("bin").join(recipe.command[0]))
            .args(&recipe.command[1..])
            .envs(
                recipe
                    .environment
                    .iter()
                    .map(|(name, value)| (name, fill(value))),
            )
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(also);
        let mut child = command.spawn().map_err(|e| format!("sh: {e}"))?;
        let life = child.stdin.take();
        let mut service = Self {
            name: recipe.name,
            environment: environment.to_owned(),
            port,
            folder,
            child,
            life,
        };
        service.wait_for(recipe.health)?;
        Ok(service)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port of the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Python beside it, which has the client library of its vendor: `boto3`.
    pub fn python(&self) -> PathBuf {
        self.environment.join("bin").join("python")
    }

    /// The variable that says its address to programs in other languages.
    pub fn variable(&self) -> String {
        format!("QRT_TEST_{}", self.name.to_uppercase())
    }

    fn wait_for(&mut self, health: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if is_ready(self.port, health) {
                return Ok(());
            }
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(20).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        Err(format!("did not start:\n{}", end.join("\n")))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.life.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The server's own Python environment, made at the first use and when its requirements change.
fn install(recipe: &Recipe) -> Result<PathBuf, String> {
    let folder = target().join("services");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // Several tests may want it at the same time.
    let lock =
        File::create(folder.join(format!("{}.lock", recipe.name))).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let environment = folder.join(recipe.name);
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == recipe.requirements) {
        return Ok(environment);
    }
    let wanted = folder.join(format!("{}.txt", recipe.name));
    fs::write(&wanted, recipe.requirements).map_err(|e| e.to_string())?;
    eprintln!("installing {} into {}", recipe.name, environment.display());
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let pip = environment.join("bin").join("pip");
    run(Command::new(pip)
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&wanted))?;
    fs::rename(&wanted, &installed).map_err(|e| e.to_string())?;
    Ok(environment)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed:\n{said}"))
}

/// Cargo's target folder, that of the running program.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    match target {
        Some(target) => target.to_owned(),
        // Whoever made the folder before cargo did left out its mark.
        None => std::path::absolute("target").unwrap_or_default(),
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether a server answers to this path.
fn is_ready(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
