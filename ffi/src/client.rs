//! Clients: connections to one provider each.

use queue_runtime_core::{Client, ClientConfig, QueueOptions};

use crate::abi::{borrow, call, free, get, handle_output, qrt_bytes_t, run};
use crate::breaker::{QRT_BREAKER_CLOSED, code};
use crate::buffer::qrt_buffer_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::queue::qrt_queue_t;
use crate::runtime::{Home, qrt_runtime_t};

/// A connection to one provider. Thread-safe.
pub struct qrt_client_t {
    pub(crate) client: std::mem::ManuallyDrop<Client>,
    pub(crate) home: Home,
}

impl Drop for qrt_client_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.client) };
        }
    }
}

/// Opens a client of the provider that `url` names, such as `memory:`. `config` is configuration
/// as JSON over the URL's own, or empty. Creates no queue and lists none.
///
/// `QRT_OK`: `*client` is there, the caller owns it. `QRT_PENDING`: `done` will run, and
/// `qrt_op_take_client` gives it. `op` may be NULL. Copies its inputs. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_open(
    runtime: *mut qrt_runtime_t,
    url: qrt_bytes_t,
    config: qrt_bytes_t,
    done: qrt_completion_t,
    client: *mut *mut qrt_client_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(client, "client")?;
            let home = borrow(runtime, "runtime")?.0.clone();
            home.check()?;
            let url = url.text("url")?;
            let config = match config.some_text("config")? {
                Some(json) => ClientConfig::from_json(json)?,
                None => ClientConfig::default(),
            };
            let config = if url.is_empty() {
                config
            } else {
                config.url(url)
            };
            let owner = home.clone();
            let opening = async move {
                let client = owner.runtime().connect(config).await?;
                Ok(Box::new(qrt_client_t {
                    client: std::mem::ManuallyDrop::new(client),
                    home: owner.clone(),
                }))
            };
            start_future(&home, opening, done, place, op)
        })
    }
}

/// Opens a queue of a client. `config` is options as JSON over the client's, such as
/// `{"budget": 3, "lock": "10s"}`, or empty. Creates nothing; asks no network. The caller owns
/// `*queue`. Copies its inputs. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_open(
    client: *mut qrt_client_t,
    name: qrt_bytes_t,
    config: qrt_bytes_t,
    queue: *mut *mut qrt_queue_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(queue, "queue")?;
            let client = borrow(client, "client")?;
            client.home.check()?;
            let name = name.text("name")?;
            let options = match config.some_text("config")? {
                Some(json) => QueueOptions::from_json(json)?,
                None => QueueOptions::default(),
            };
            let opened = client.client.queue_with(name, options)?;
            place.0 = Box::into_raw(Box::new(qrt_queue_t::new(opened, client.home.clone())));
            Ok(())
        })
    }
}

/// What the provider can do and its limits, as JSON:
/// `{"provider": ..., "support": {"sessions": "native", ...}, "limits": {...}}`. The caller owns
/// it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_capabilities(
    client: *const qrt_client_t,
    json: *mut *mut qrt_buffer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(json, "json")?;
            let client = borrow(client, "client")?;
            client.home.check()?;
            let capabilities = client.client.capabilities();
            let json = crate::capability::to_json(capabilities);
            place.0 = Box::into_raw(qrt_buffer_t::boxed(json));
            Ok(())
        })
    }
}

/// Where the breaker of a whole client stands, the option `client_breaker`: one of `QRT_BREAKER_...`;
/// `QRT_BREAKER_CLOSED` where there is none, and for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_breaker_state(client: *const qrt_client_t) -> u32 {
    // SAFETY: the caller vouches for the handle.
    let handle = unsafe { client.as_ref() }.filter(|handle| handle.home.is_here());
    get(QRT_BREAKER_CLOSED, || {
        handle.map_or(QRT_BREAKER_CLOSED, |handle| {
            code(handle.client.breaker_state())
        })
    })
}

/// Closes the breaker of a whole client by hand, and forgets what failed; those of its queues stay as
/// they are. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_reset_breaker(
    client: *mut qrt_client_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let client = borrow(client, "client")?;
            client.home.check()?;
            client.client.reset_breaker();
            Ok(())
        })
    }
}

/// Ends a client: verbs that wait end with `QRT_ERR_CLOSED`, later ones fail with it. Deliveries
/// in hand come back when their locks end. Again does nothing. Ends at once or pends, as
/// `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_close(
    client: *mut qrt_client_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let client = borrow(client, "client")?;
            client.home.check()?;
            let closing = Client::clone(&client.client);
            let closing = async move { closing.close().await };
            start_future(&client.home, closing, done, &mut (), op)
        })
    }
}

/// Frees the caller's hold on a client; its queues go on holding theirs. Never waits. NULL does
/// nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_client_free(client: *mut qrt_client_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(client) }
}
