//! Options structs begin with their size, so that both sides may be of another version.

use queue_runtime_core::{Error, ErrorKind, Result};

/// An options struct: plain data, its size first.
pub(crate) trait Options: Copy + 'static {
    const DEFAULT: Self;
}

/// The options a caller passed: its fields as far as it has them, the defaults beyond. NULL gives
/// the defaults. Fields of a later version must be zero.
///
/// # Safety
/// `options` is NULL or points to as many readable bytes as its first field says.
pub(crate) unsafe fn read<T: Options>(options: *const T) -> Result<T> {
    let mut known = T::DEFAULT;
    if options.is_null() {
        return Ok(known);
    }
    // SAFETY: every options struct begins with its size.
    let size = unsafe { options.cast::<usize>().read() };
    let own = size_of::<T>();
    if size < size_of::<usize>() || size > 64 * 1024 {
        return Err(Error::invalid_argument(
            "struct_size",
            format!("is {size}; begin with the _INIT macro of the struct"),
        ));
    }
    // SAFETY: the caller vouches for `size` bytes; no more than `T` has are written.
    unsafe {
        std::ptr::copy_nonoverlapping(
            options.cast::<u8>(),
            std::ptr::from_mut(&mut known).cast::<u8>(),
            size.min(own),
        );
    }
    if size > own {
        // SAFETY: the caller vouches for `size` bytes.
        let tail = unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(own), size - own) };
        if tail.iter().any(|byte| *byte != 0) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the options use a field of a later version of the library",
            )
            .with_field("struct_size"));
        }
    }
    Ok(known)
}
