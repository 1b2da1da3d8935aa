//! Memory that a long-lived process gives back.
#![allow(unsafe_code, reason = "madvise works on addresses")]

use super::error::{Result, SysError};

/// What stays above the part that is given back: this call's own frames, and the 128 bytes below
/// the stack pointer that some ABIs use without moving it.
const KEPT: usize = 16 << 10;
/// As much as a start has ever used, several times over, and half of what the kernel keeps free
/// below a stack (`stack_guard_gap`): no other mapping can be in this range.
const GIVEN: usize = 512 << 10;

/// Bytes in a page.
pub(super) fn page_size() -> usize {
    // SAFETY: getauxval only looks a number up.
    let told = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    if told.is_power_of_two() { told } else { 4096 }
}

/// Gives the unused pages below the calling frame's stack back to the kernel, which hands out
/// zeroed ones when they are needed again. For a process that has come to its long, shallow part.
///
/// # Errors
/// EINVAL on kernels that do not know MADV_DONTNEED (none).
#[inline(never)]
pub fn give_back_stack() -> Result<()> {
    let here = 0u8;
    let page = page_size();
    let end = ((&raw const here).addr().saturating_sub(KEPT.max(2 * page))) & !(page - 1);
    let begin = end.saturating_sub(GIVEN) & !(page - 1);
    // SAFETY: the range lies below every live frame of this only thread, so nothing in it is read
    // before it is written again, and only the stack can be mapped there, see `GIVEN`.
    let done = unsafe {
        libc::madvise(
            std::ptr::with_exposed_provenance_mut(begin),
            end - begin,
            libc::MADV_DONTNEED,
        )
    };
    match done {
        0 => Ok(()),
        // A part of the range is not mapped; the rest has been given back.
        _ if SysError::last("madvise", "").is(libc::ENOMEM) => Ok(()),
        _ => Err(SysError::last("madvise", "the stack")),
    }
}
