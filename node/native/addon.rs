//! Node-API: the functions that an environment of Node gets, and the memory it lends.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use napi_sys as sys;

use crate::link::{Link, Verb};
use crate::memory::{Page, Request, WORD};
use crate::verbs::VERBS;
use crate::wake::Wake;

/// What one environment has of this addon. Lives as long as the environment; used on its thread
/// only, and never while JavaScript runs in the middle of a call.
struct Addon {
    /// Gone when the environment ends.
    open: Option<Open>,
    request: Memory,
    page: Memory,
    functions: Vec<Function>,
}

struct Open {
    link: Link,
    wake: Arc<Wake>,
}

/// What a function of JavaScript stands for.
#[derive(Clone, Copy)]
struct Function {
    addon: NonNull<Addon>,
    verb: Verb,
}

/// An `ArrayBuffer` that JavaScript lends until it lends another one.
struct Memory {
    reference: sys::napi_ref,
    data: *mut u8,
    length: usize,
}

impl Memory {
    const NONE: Self = Self {
        reference: ptr::null_mut(),
        data: NonNull::<u64>::dangling().as_ptr().cast(),
        length: 0,
    };

    /// # Safety
    /// The memory is still lent, and nobody else uses it meanwhile.
    unsafe fn bytes<'a>(&self) -> &'a mut [u8] {
        // SAFETY: as the caller says; JavaScript checks before each call that the page was not
        // taken away from the buffer, and the request is never given to anybody.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.length) }
    }
}

impl Addon {
    fn run(&mut self, verb: Verb) {
        let Some(open) = &mut self.open else { return };
        // SAFETY: lent for the length of the call; the two are different buffers.
        let (request, page) = unsafe { (self.request.bytes(), self.page.bytes()) };
        let mut request = Request::new(request);
        let at = request.index() * WORD;
        open.link.run(verb, &mut request, &mut Page::new(page, at));
    }
}

/// Called by Node when it loads the addon into an environment.
///
/// # Safety
/// Called by Node, on the thread of the environment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(
    env: sys::napi_env,
    exports: sys::napi_value,
) -> sys::napi_value {
    let addon = Box::into_raw(Box::new(Addon {
        open: None,
        request: Memory::NONE,
        page: Memory::NONE,
        functions: Vec::new(),
    }));
    // SAFETY: the environment is alive, and frees the addon after everything that points to it.
    unsafe {
        sys::napi_set_instance_data(env, addon.cast(), Some(free), ptr::null_mut());
        let addon = NonNull::new_unchecked(addon);
        (*addon.as_ptr()).functions = VERBS
            .iter()
            .map(|&(_, verb)| Function { addon, verb })
            .collect();
        for (function, (name, _)) in (*addon.as_ptr()).functions.iter().zip(VERBS) {
            export(env, exports, name, call, ptr::from_ref(function).cast());
        }
        let data = addon.as_ptr().cast_const().cast();
        export(env, exports, "listen", listen, data);
        export(env, exports, "lendRequest", lend_request, data);
        export(env, exports, "lendPage", lend_page, data);
        export(env, exports, "hold", hold, data);
        export(env, exports, "letGo", let_go, data);
    }
    exports
}

/// The version of Node-API that this addon is made for.
#[unsafe(no_mangle)]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}

type Callback =
    unsafe extern "C" fn(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value;

/// # Safety
/// On the thread of the environment, with data that lives as long as it.
unsafe fn export(
    env: sys::napi_env,
    exports: sys::napi_value,
    name: &str,
    callback: Callback,
    data: *const c_void,
) {
    let mut function = ptr::null_mut();
    let name = CString::new(name).expect("names have no NUL");
    let length = name.as_bytes().len() as isize;
    // SAFETY: as the caller says; the places are here. A failure leaves an exception with Node,
    // which then does not load the addon.
    unsafe {
        let data = data.cast_mut();
        let made = sys::napi_create_function(
            env,
            name.as_ptr(),
            length,
            Some(callback),
            data,
            &raw mut function,
        );
        if made == sys::Status::napi_ok {
            sys::napi_set_named_property(env, exports, name.as_ptr(), function);
        }
    }
}

/// The data of a function that is called, and its first argument, if it is to have one.
///
/// # Safety
/// In a callback, with its own arguments; the data is a `T`.
unsafe fn called<T>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    argument: Option<&mut sys::napi_value>,
) -> *mut T {
    let mut data = ptr::null_mut();
    let (mut count, argument) = match argument {
        Some(place) => (1, ptr::from_mut(place)),
        None => (0, ptr::null_mut()),
    };
    // SAFETY: as the caller says; the places are here.
    unsafe {
        let this = ptr::null_mut();
        sys::napi_get_cb_info(env, info, &raw mut count, argument, this, &raw mut data);
    }
    data.cast()
}

/// Calls a verb.
unsafe extern "C" fn call(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the data of this function is a `Function`, whose addon lives as long as the
    // environment, and nobody else uses it meanwhile.
    unsafe {
        let Function { mut addon, verb } = *called::<Function>(env, info, None);
        addon.as_mut().run(verb);
    }
    ptr::null_mut()
}

/// Opens the link; its argument is the function that is called when operations have ended.
unsafe extern "C" fn listen(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the data of this function is the addon, as in `call`; the places are here.
    unsafe {
        let mut callback = ptr::null_mut();
        let addon = &mut *called::<Addon>(env, info, Some(&mut callback));
        let (mut name, mut function) = (ptr::null_mut(), ptr::null_mut());
        const NAME: &str = "queue-runtime";
        sys::napi_create_string_utf8(
            env,
            NAME.as_ptr().cast(),
            NAME.len() as isize,
            &raw mut name,
        );
        let made = sys::napi_create_threadsafe_function(
            env,
            callback,
            ptr::null_mut(),
            name,
            0,
            1,
            ptr::null_mut(),
            None,
            ptr::null_mut(),
            None,
            &raw mut function,
        );
        if made != sys::Status::napi_ok {
            let text = c"no threadsafe function can be made";
            sys::napi_throw_error(env, ptr::null(), text.as_ptr());
            return ptr::null_mut();
        }
        sys::napi_unref_threadsafe_function(env, function);
        let wake = Arc::new(Wake::new(function));
        let link = Link::new(wake.clone());
        addon.open = Some(Open { link, wake });
        // After the function's own hook, so that this one runs before it.
        sys::napi_add_env_cleanup_hook(env, Some(close), ptr::from_mut(addon).cast());
    }
    ptr::null_mut()
}

/// The environment ends: no wake-up after this, and what goes on is given up.
unsafe extern "C" fn close(addon: *mut c_void) {
    // SAFETY: the hook was made with the addon, which the environment frees later.
    let addon = unsafe { &mut *addon.cast::<Addon>() };
    if let Some(open) = addon.open.take() {
        open.wake.close();
        let drop_it = std::panic::AssertUnwindSafe(|| drop(open));
        let _ = std::panic::catch_unwind(drop_it);
    }
}

/// The environment is gone, and nothing points to the addon any more.
unsafe extern "C" fn free(_: sys::napi_env, addon: *mut c_void, _: *mut c_void) {
    // SAFETY: made by `napi_register_module_v1`, and freed once.
    drop(unsafe { Box::from_raw(addon.cast::<Addon>()) });
}

unsafe extern "C" fn lend_request(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: passed on.
    unsafe { lend(env, info, |addon| &mut addon.request) }
}

unsafe extern "C" fn lend_page(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: passed on.
    unsafe { lend(env, info, |addon| &mut addon.page) }
}

/// Puts the memory of an `ArrayBuffer` in place of that before.
///
/// # Safety
/// In a callback whose data is the addon.
unsafe fn lend(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    place: fn(&mut Addon) -> &mut Memory,
) -> sys::napi_value {
    // SAFETY: as the caller says; the places are here. The reference keeps the memory, which does
    // not move, until it is deleted here.
    unsafe {
        let mut buffer = ptr::null_mut();
        let addon = &mut *called::<Addon>(env, info, Some(&mut buffer));
        let (mut data, mut length, mut reference) = (ptr::null_mut(), 0, ptr::null_mut());
        let good = sys::napi_get_arraybuffer_info(env, buffer, &raw mut data, &raw mut length)
            == sys::Status::napi_ok
            && sys::napi_create_reference(env, buffer, 1, &raw mut reference)
                == sys::Status::napi_ok;
        let new = Memory {
            reference,
            data: data.cast(),
            length,
        };
        let before = std::mem::replace(place(addon), if good { new } else { Memory::NONE });
        if !before.reference.is_null() {
            sys::napi_delete_reference(env, before.reference);
        }
    }
    ptr::null_mut()
}

/// Lets the event loop live on while something goes on.
unsafe extern "C" fn hold(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: passed on.
    unsafe { set_held(env, info, true) }
}

/// Lets the event loop end when nothing else keeps it.
unsafe extern "C" fn let_go(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: passed on.
    unsafe { set_held(env, info, false) }
}

/// # Safety
/// In a callback whose data is the addon.
unsafe fn set_held(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    held: bool,
) -> sys::napi_value {
    // SAFETY: as the caller says.
    unsafe {
        let addon = &*called::<Addon>(env, info, None);
        if let Some(open) = &addon.open {
            open.wake.hold(env, held);
        }
    }
    ptr::null_mut()
}
