//! Panics, put into each layer: each is an error of its call, and everything else goes on.

use std::future::poll_fn;
use std::pin::Pin;
use std::ptr;
use std::task::Poll;

use queue_runtime_core::{Reply, Result};

use crate::abi::{Out, call, free, get, run};
use crate::error::{
    QRT_ERR_PANIC, QRT_OK, QRT_PENDING, qrt_error_free, qrt_error_message, qrt_error_t,
};
use crate::op::{qrt_completion_t, qrt_op_free, qrt_op_t, qrt_op_wait, start, start_future};
use crate::op_take::qrt_op_take_unit;
use crate::runtime::{qrt_runtime_free, qrt_runtime_new, qrt_runtime_now, qrt_runtime_t};

const NOBODY: qrt_completion_t = qrt_completion_t {
    r#fn: None,
    user_data: ptr::null_mut(),
    free: None,
};

fn runtime() -> *mut qrt_runtime_t {
    let mut runtime = ptr::null_mut();
    // SAFETY: the place is here.
    let status = unsafe { qrt_runtime_new(ptr::null(), &raw mut runtime, ptr::null_mut()) };
    assert_eq!(status, QRT_OK);
    runtime
}

/// The text of an error, which is freed.
fn text(error: *mut qrt_error_t) -> String {
    // SAFETY: the error was given by a call, and is freed once.
    unsafe {
        let message = qrt_error_message(error).text("message").unwrap().to_owned();
        qrt_error_free(error);
        message
    }
}

#[test]
fn in_the_body_of_a_function() {
    let mut error = ptr::null_mut();
    // SAFETY: the place is here.
    let status = unsafe { run(&raw mut error, || panic!("on {}", "purpose")) };
    assert_eq!(status, QRT_ERR_PANIC);
    assert!(text(error).contains("on purpose"));
    assert_eq!(get(7, || panic!("in a getter")), 7);
}

#[test]
fn in_the_drop_of_a_handle() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    // SAFETY: a box of this test's.
    unsafe { free(Box::into_raw(Box::new(Bad))) };
}

#[test]
fn in_the_first_poll_of_a_verb() {
    let runtime = runtime();
    let mut error = ptr::null_mut();
    // SAFETY: the handle is good until it is freed below.
    let status = unsafe {
        call(&raw mut error, || {
            let verb = async { panic!("at once") };
            start_future::<()>(&(*runtime).0, verb, NOBODY, &mut (), None)
        })
    };
    assert_eq!(status, QRT_ERR_PANIC);
    assert!(text(error).contains("at once"));
    // SAFETY: as above.
    unsafe {
        assert!(qrt_runtime_now(runtime) > 0);
        qrt_runtime_free(runtime);
    }
}

/// A verb that panics when it is polled a second time.
fn later() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    let mut polled = false;
    Box::pin(poll_fn(move |cx| {
        assert!(!polled, "later");
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

#[test]
fn on_a_thread_of_the_runtime() {
    let runtime = runtime();
    for _ in 0..3 {
        let mut op = Out::<qrt_op_t>::default();
        let mut error = ptr::null_mut();
        // SAFETY: the handles are good until they are freed below.
        unsafe {
            let reply = Reply::later(later());
            let status = call(ptr::null_mut(), || {
                start(&(*runtime).0, reply, NOBODY, &mut (), Some(&mut op))
            });
            assert_eq!(status, QRT_PENDING);
            assert_eq!(qrt_op_wait(op.0, 30_000, ptr::null_mut()), QRT_OK);
            assert_eq!(qrt_op_take_unit(op.0, &raw mut error), QRT_ERR_PANIC);
            qrt_op_free(op.0);
        }
        assert!(text(error).contains("later"));
    }
    // SAFETY: as above.
    unsafe { qrt_runtime_free(runtime) };
}
