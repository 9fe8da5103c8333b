//! A proxy before a server that speaks HTTP: passes requests on, notes them, and breaks them as
//! told. Threads, so that it needs no runtime and is in nobody's way.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the metadata service of an instance says beside its token.
const TOKEN_LIFE: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends before the server sees the request.
    Drop,
    /// The server acts, and the connection ends before its answer.
    LoseAnswer,
    /// The answer ends in the middle of its body.
    Halve,
    /// The answer comes this much later.
    Delay(Duration),
    /// Nothing comes, ever, until the proxy is told to [`Proxy::heal`].
    BlackHole,
    /// The server does not see the request; this status and JSON body are the answer.
    Answer(u16, String),
    /// The server sees the request twice; the second answer is the answer.
    Twice,
}

/// A proxy while it runs.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    healed: Condvar,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Faults for the next requests of an action, or of any.
    once: VecDeque<(Option<String>, Fault)>,
    /// Faults of every request of an action, or of any; the first that fits.
    always: Vec<(Option<String>, Fault)>,
    /// The actions that came, in their order.
    seen: Vec<String>,
    /// Whose keys signed them.
    signers: Vec<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and decides what happens to it.
    fn meet(&self, request: &Request) -> Option<Fault> {
        let action = request.action.as_str();
        let mut state = self.state();
        state.seen.push(action.to_owned());
        state.signers.extend(request.signer.clone());
        let hits = |of: &Option<String>| of.as_deref().is_none_or(|of| of == action);
        if let Some(at) = state.once.iter().position(|(of, _)| hits(of)) {
            return state.once.remove(at).map(|(_, fault)| fault);
        }
        let always = state.always.iter().find(|(of, _)| hits(of));
        always.map(|(_, fault)| fault.clone())
    }
}

impl Proxy {
    /// A proxy before the server at this port of the loopback.
    ///
    /// # Errors
    ///
    /// Those of opening a port.
    pub fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            state: Mutex::default(),
            healed: Condvar::new(),
            closed: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.closed.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), shared) = (stream, for_thread.clone()) else {
                    continue;
                };
                std::thread::spawn(move || {
                    let _ = serve(&shared, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks the next request of this action; without one, of any.
    pub fn once(&self, action: Option<&str>, fault: Fault) {
        self.shared
            .state()
            .once
            .push_back((action.map(str::to_owned), fault));
    }

    /// Breaks every request of this action, or any, until it is told to [`Proxy::heal`].
    pub fn always(&self, action: Option<&str>, fault: Fault) {
        self.shared
            .state()
            .always
            .push((action.map(str::to_owned), fault));
    }

    /// Passes everything on again. What is in the black hole stays there, and its connections end.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.once.clear();
        state.always.clear();
        drop(state);
        self.shared.healed.notify_all();
    }

    /// The actions that came since the last call, in their order.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().seen)
    }
}

impl Proxy {
    /// The ids of the keys that signed what came since the last call.
    pub fn signers(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().signers)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.heal();
        // Wakes the listener, which sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves one connection, request after request.
fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let fault = shared.meet(&request);
        match fault {
            None => answer(stream, &request.forward(shared.server)?)?,
            Some(Fault::Drop) => return Ok(()),
            Some(Fault::LoseAnswer) => {
                request.forward(shared.server)?;
                return Ok(());
            }
            Some(Fault::Halve) => {
                let whole = request.forward(shared.server)?;
                let head = head_bytes(&whole);
                answer(stream, &whole[..head + (whole.len() - head) / 2])?;
                return Ok(());
            }
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                answer(stream, &request.forward(shared.server)?)?;
            }
            Some(Fault::BlackHole) => {
                let state = shared.state();
                let blocked = |state: &mut State| !state.always.is_empty();
                drop(shared.healed.wait_while(state, blocked));
                return Ok(());
            }
            Some(Fault::Answer(status, body)) => {
                let head = format!(
                    "HTTP/1.1 {status} Fault\r\nContent-Type: application/x-amz-json-1.0\r\n\
                     {TOKEN_LIFE}: 21600\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                answer(stream, (head + &body).as_bytes())?;
            }
            Some(Fault::Twice) => {
                request.forward(shared.server)?;
                answer(stream, &request.forward(shared.server)?)?;
            }
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}

/// A request, as far as it is looked at.
struct Request {
    /// The line and the headers, without those of the connection.
    head: String,
    body: Vec<u8>,
    /// What an AWS client says it wants: `SendMessage` of `AmazonSQS.SendMessage`; else the path.
    action: String,
    /// The id of the key it is signed with.
    signer: Option<String>,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let (mut head, mut length) = (String::new(), 0);
        let (mut action, mut signer) = (None, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "authorization" => signer = signer_of(value),
                "x-amz-target" => action = value.rsplit('.').next().map(str::to_owned),
                "connection" => continue,
                _ => {}
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Some(Self {
            head,
            body,
            action: action.unwrap_or(path),
            signer,
        }))
    }

    /// The server's whole answer. Each request has a connection of its own there.
    fn forward(&self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        write!(stream, "{}Connection: close\r\n\r\n", self.head)?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// The id of `AWS4-HMAC-SHA256 Credential=ID/20260101/...`.
fn signer_of(authorization: &str) -> Option<String> {
    let (_, rest) = authorization.split_once("Credential=")?;
    rest.split_once('/').map(|(id, _)| id.to_owned())
}

/// Where the body of an answer begins.
fn head_bytes(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end.map_or(answer.len(), |at| at + 4)
}
