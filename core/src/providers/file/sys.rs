//! What the engine asks of Linux and the standard library does not offer, behind safe functions:
//! locks of open file descriptions, shared mappings, space of files, clocks and forks.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

// --- locks of open file descriptions ----------------------------------------------------------

fn range(kind: libc::c_int, start: u64, len: u64) -> libc::flock {
    // SAFETY: all zeroes are a valid value of this plain structure.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start as libc::off_t;
    lock.l_len = len as libc::off_t;
    lock
}

/// Locks one byte for this open file, until it is closed. `false`: another one has it.
pub(super) fn lock_byte(file: &File, byte: u64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, byte, 1);
    // SAFETY: the structure outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut lock) };
    match check(result) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Locks one byte, waiting for it.
pub(super) fn lock_byte_wait(file: &File, byte: u64) -> io::Result<()> {
    loop {
        let mut lock = range(libc::F_WRLCK, byte, 1);
        // SAFETY: the structure outlives the call.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &mut lock) };
        match check(result) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Lets go of one byte.
pub(super) fn unlock_byte(file: &File, byte: u64) {
    let mut lock = range(libc::F_UNLCK, byte, 1);
    // SAFETY: the structure outlives the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut lock) };
}

/// Whether another open file has a lock on one of these bytes; `len` 0 is to the end. An error of
/// the system counts as a lock: who cannot be asked is not dead.
pub(super) fn is_locked(file: &File, start: u64, len: u64) -> bool {
    let mut lock = range(libc::F_WRLCK, start, len);
    // SAFETY: the structure outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
    result < 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}

// --- memory and space -------------------------------------------------------------------------

/// A shared mapping of a file, which may be longer than the file.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; what is in it is reached through
// atomics alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps this many bytes for reading and writing by all who map the file.
    pub(super) fn shared(file: &File, len: usize) -> io::Result<Self> {
        Self::new(
            file,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_NORESERVE,
        )
    }

    /// Maps this many bytes for reading from front to end.
    pub(super) fn read_only(file: &File, len: usize) -> io::Result<Self> {
        let mapping = Self::new(file, len, libc::PROT_READ, 0)?;
        // SAFETY: the range was just mapped; advice changes no contents.
        unsafe { libc::madvise(mapping.base.as_ptr().cast(), len, libc::MADV_SEQUENTIAL) };
        Ok(mapping)
    }

    fn new(file: &File, len: usize, protection: i32, flags: i32) -> io::Result<Self> {
        // SAFETY: a new mapping where the kernel likes touches nobody's memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED | flags,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        #[cfg(feature = "shuttle")]
        super::futex::mapped(base, len, file)?;
        Ok(Self { base, len })
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[cfg(feature = "shuttle")]
        super::futex::unmapped(self.base);
        // SAFETY: base and length are those of the mapping, and nobody borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Takes space for this range of a file, which grows to hold it.
pub(super) fn allocate(file: &File, start: u64, len: u64) -> io::Result<()> {
    // SAFETY: a plain call on an open descriptor.
    let result = unsafe { libc::posix_fallocate(file.as_raw_fd(), start as i64, len as i64) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(result))
    }
}

/// Gives the space of this range of a file back; it reads as zeroes from then on.
pub(super) fn punch(file: &File, start: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: a plain call on an open descriptor.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, start as i64, len as i64) }).map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// An error when this process may not make files in this folder.
pub(super) fn check_writable(folder: &Path) -> io::Result<()> {
    let (path, mode) = (c_path(folder)?, libc::W_OK | libc::X_OK);
    // SAFETY: the path outlives the call.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) })
        .map(drop)
}

/// The user whose rights this process has.
pub(super) fn effective_user() -> u32 {
    // SAFETY: a call without arguments that cannot fail.
    unsafe { libc::geteuid() }
}

/// The number of the kind of file system that a path is on.
pub(super) fn file_system(path: &Path) -> io::Result<u32> {
    let path = c_path(path)?;
    // SAFETY: all zeroes are a valid value of this plain structure.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: path and answer outlive the call.
    check(unsafe { libc::statfs(path.as_ptr(), &mut answer) })?;
    Ok(answer.f_type as u32)
}

// --- time -------------------------------------------------------------------------------------

fn clock(id: libc::clockid_t) -> u64 {
    // SAFETY: all zeroes are a valid value of this plain structure.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call; both clocks are there on every Linux.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since the machine started, time asleep included: the same in all processes.
pub(super) fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970.
pub(super) fn wall_time() -> i64 {
    clock(libc::CLOCK_REALTIME) as i64
}

/// What names the present run of the machine.
pub(super) fn boot_id() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits = text.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

// --- forks ------------------------------------------------------------------------------------

/// Which process this is in a line of forks. A child's is another than its parent's.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// Files that a forked child must let go of, or their locks outlive the parent.
static LET_GO: [AtomicI32; 1024] = [const { AtomicI32::new(-1) }; 1024];

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for file in &LET_GO {
        let file = file.swap(-1, Ordering::Relaxed);
        if file >= 0 {
            // SAFETY: the descriptor is the child's own copy, which only the parent's store used.
            unsafe { libc::close(file) };
        }
    }
}

/// The generation of this process, by which a forked child is told from its parent.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Remembers a file that must not be held by forked children. `false`: there are too many.
pub(super) fn close_in_children(file: RawFd) -> bool {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the handler only touches atomics and closes descriptors, which a child of a
        // process with threads may do.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    let free = |entry: &&AtomicI32| {
        entry
            .compare_exchange(-1, file, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    };
    LET_GO.iter().find(free).is_some()
}

/// Forgets a file that is about to be closed.
pub(super) fn forget_in_children(file: RawFd) {
    for entry in &LET_GO {
        let _ = entry.compare_exchange(file, -1, Ordering::Relaxed, Ordering::Relaxed);
    }
}
