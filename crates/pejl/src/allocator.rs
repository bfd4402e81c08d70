//! The allocator, and how long it keeps memory that nothing uses.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h`, which the bindings have no name for.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Milliseconds that freed memory is kept before the system has it back. A build frees and takes gigabytes again within seconds; given
/// back at once, as is the default, an eighth of a rebuild went to the system clearing the same pages again.
const KEPT: std::ffi::c_long = 10_000;

/// Keeps freed memory for a while. To be called before anything is built.
pub(crate) fn keep_freed() {
    #[expect(unsafe_code, reason = "the allocator has no safe call for its options")]
    // SAFETY: takes two numbers, and any thread may call it at any time.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT);
    }
}
