//! The file that this process runs, and another one in its place.
//!
//! /proc/PID/exe leads to a process's file, and so does `#!/proc/self/exe`. [`run_from`] has the
//! process go on from another open file with the same contents, without the exec that would do
//! the same: each part of the program is mapped anew from that file, over itself, and what the
//! program has changed of its data goes into memory that belongs to no file. Then the kernel,
//! which looks whether any of the old file is left, is told.
#![allow(unsafe_code, reason = "mapping the program's own parts anew")]

use super::error::{Result, SysError};
use super::{memory, title};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as Ehdr, Elf32_Phdr as Phdr};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as Ehdr, Elf64_Phdr as Phdr};

/// Goes on from `file`, which must have the contents of the file that is run now.
///
/// # Errors
/// The kernel does not do it: no CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, no
/// CONFIG_CHECKPOINT_RESTORE, or a program that was loaded in an unusual way. Nothing is lost
/// then, and executing `file` has the same effect.
pub fn run_from(file: BorrowedFd<'_>) -> Result<()> {
    let page = memory::page_size();
    let headers = headers()?;
    // The headers follow the file's own, at its very begin, in the part that starts there.
    let start = headers.as_ptr().addr().wrapping_sub(size_of::<Ehdr>());
    let first = headers.iter().find(|h| h.p_type == libc::PT_LOAD && h.p_offset == 0);
    let Some(first) = first.filter(|_| start % page == 0) else {
        return Err(SysError::new("getauxval", "AT_PHDR", libc::ENOEXEC));
    };
    // Where the program is, against where its file says.
    let bias = start.wrapping_sub(first.p_vaddr as usize);
    for part in headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_filesz > 0) {
        let begin = bias.wrapping_add(part.p_vaddr as usize);
        let skew = begin % page;
        let len = (skew + part.p_filesz as usize).next_multiple_of(page);
        if part.p_flags & libc::PF_W == 0 {
            map_anew(begin - skew, len, part, file.as_raw_fd(), part.p_offset as usize - skew)?;
        } else {
            detach(begin - skew, len)?;
        }
    }
    for part in headers.iter().filter(|h| h.p_type == libc::PT_GNU_RELRO) {
        let begin = bias.wrapping_add(part.p_vaddr as usize);
        let end = (begin + part.p_memsz as usize) / page * page;
        let begin = begin / page * page;
        if end > begin {
            // SAFETY: these pages hold what the linker says is never written after the program's
            // begin; they are the program's own, whole pages.
            unsafe { libc::mprotect(at(begin), end - begin, libc::PROT_READ) };
        }
    }
    title::set_file(file.as_raw_fd())
}

/// The program headers, where the kernel says that it has loaded them.
fn headers() -> Result<&'static [Phdr]> {
    // SAFETY: getauxval only looks a number up.
    let begin = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    if begin == 0 || begin % align_of::<Phdr>() != 0 {
        return Err(SysError::new("getauxval", "AT_PHDR", libc::ENOENT));
    }
    // SAFETY: the kernel has put `count` headers of the program there, aligned as checked, in a
    // part of it that nobody writes and that stays for the life of the process.
    Ok(unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(begin), count) })
}

fn at(address: usize) -> *mut libc::c_void {
    std::ptr::with_exposed_provenance_mut(address)
}

/// Maps a part that is never written over itself: the same bytes at the same place.
fn map_anew(begin: usize, len: usize, part: &Phdr, file: RawFd, offset: usize) -> Result<()> {
    let mut protection = libc::PROT_READ;
    if part.p_flags & libc::PF_X != 0 {
        protection |= libc::PROT_EXEC;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: the range is exactly the pages of this read-only part of the program, and the file
    // has the same bytes for them (the caller's promise); nothing there was ever changed.
    let done =
        unsafe { libc::mmap(at(begin), len, protection, flags, file, offset as libc::off_t) };
    if done == libc::MAP_FAILED { Err(SysError::last("mmap", "the own program")) } else { Ok(()) }
}

/// Puts a copy that belongs to no file in the place of pages that the program writes.
fn detach(begin: usize, len: usize) -> Result<()> {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory wherever the kernel likes.
    let copy = unsafe { libc::mmap(std::ptr::null_mut(), len, both, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return Err(SysError::last("mmap", "a copy of the own data"));
    }
    // SAFETY: both are `len` bytes, readable there and writable here, and do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(at(begin).cast::<u8>(), copy.cast::<u8>(), len) };
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the program's own data gives way to an equal copy. Between the two calls this only
    // thread writes nothing but its stack, which is elsewhere: a call that succeeds leaves errno
    // alone.
    let done = unsafe { libc::mremap(copy, len, len, flags, at(begin)) };
    if done == libc::MAP_FAILED {
        Err(SysError::last("mremap", "a copy of the own data"))
    } else {
        Ok(())
    }
}
