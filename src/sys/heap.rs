//! Memory of tools that end soon: parts of one fixed piece, of which only the last is ever given
//! back.
//!
//! A general allocator maps and unmaps pages for what is allocated and freed at once, and each page
//! costs as much as several other system calls. A tool that ends in a millisecond needs none of it
//! back. What does not fit, and all that a program wants that lives on, is the system's.
#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in the piece; those that are never touched cost nothing.
const SIZE: usize = 128 << 10;

/// Larger parts are the system's: it has zeros that nobody needs to write.
const LARGEST: usize = 16 << 10;

/// The alignment of the piece, and so the highest of a part.
const ALIGN: usize = 16;

#[repr(C, align(16))]
struct Piece(UnsafeCell<[u8; SIZE]>);

// SAFETY: nobody gets at it but through parts, which have one owner each.
unsafe impl Sync for Piece {}

static PIECE: Piece = Piece(UnsafeCell::new([0; SIZE]));

/// How much of the piece is in use; more than there is when no part is to be had any more.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The allocator of the multicall binary. For one thread: the counter is read and written apart.
pub struct Heap;

/// From here on all is the system's, which gets back what is freed: for a program that lives on.
pub fn live_on() {
    USED.store(SIZE + 1, Relaxed);
}

fn piece() -> *mut u8 {
    PIECE.0.get().cast()
}

/// Where in the piece `part` begins, if it is one.
fn place(part: *mut u8) -> Option<usize> {
    Some(part.addr().wrapping_sub(piece().addr())).filter(|&at| at < SIZE)
}

// SAFETY: a part lies in the piece, aligned as that is, and from USED on, below which all parts are
// that somebody has; everything else goes to the system's allocator and back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = USED.load(Relaxed).next_multiple_of(layout.align());
        if layout.size() <= LARGEST && layout.align() <= ALIGN && at + layout.size() <= SIZE {
            USED.store(at + layout.size(), Relaxed);
            return piece().wrapping_add(at);
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            // SAFETY: the caller's promises are the same.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promises are the same.
        let new = unsafe { self.alloc(layout) };
        if !new.is_null() {
            // SAFETY: it has so many bytes. A part may have been somebody's before.
            unsafe { new.write_bytes(0, layout.size()) };
        }
        new
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match place(ptr) {
            Some(at) if at + layout.size() == USED.load(Relaxed) => USED.store(at, Relaxed),
            Some(_) => {}
            // SAFETY: it came from there, with this layout.
            None => unsafe { System.dealloc(ptr, layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(at) = place(ptr) else {
            // SAFETY: it came from there, with this layout.
            return unsafe { System.realloc(ptr, layout, size) };
        };
        if at + layout.size() == USED.load(Relaxed) && at + size <= SIZE {
            USED.store(at + size, Relaxed);
            return ptr;
        }
        // SAFETY: the alignment is that of a layout, and the caller promises that the size is one's.
        let layout_now = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not 0, as the caller promises.
        let new = unsafe { self.alloc(layout_now) };
        if !new.is_null() {
            // SAFETY: both have so many bytes, and the old part is in use, so that they are apart.
            unsafe { std::ptr::copy_nonoverlapping(ptr, new, size.min(layout.size())) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// One test, for there is one piece.
    #[test]
    fn parts_are_apart_and_keep_their_contents() {
        // As a program would: lists that grow by turns, with much between them.
        let mut held: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut in_piece = 0;
        for n in 0..4000usize {
            let (size, byte) = (1 + n * 7919 % 300, n as u8);
            // SAFETY: the size is not 0.
            let ptr = unsafe { Heap.alloc_zeroed(layout(size, 8)) };
            assert_eq!(ptr.addr() % 8, 0);
            // SAFETY: it has just been made, with that size.
            assert!(unsafe { std::slice::from_raw_parts(ptr, size) }.iter().all(|b| *b == 0));
            // SAFETY: as above.
            unsafe { ptr.write_bytes(byte, size) };
            in_piece += usize::from(place(ptr).is_some());
            held.push((ptr, size, byte));
            let chosen = n * 31 % held.len();
            if n % 3 == 0 {
                let (ptr, size, byte) = held[chosen];
                let more = size * 2;
                // SAFETY: it is held, and has that size.
                let ptr = unsafe { Heap.realloc(ptr, layout(size, 8), more) };
                // SAFETY: it has so many bytes by now.
                unsafe { ptr.wrapping_add(size).write_bytes(byte, more - size) };
                held[chosen] = (ptr, more, byte);
            }
            if n % 2 == 0 {
                let (ptr, size, _) = held.swap_remove(held.len() - 1 - chosen % 2 % held.len());
                // SAFETY: it was held, and has that size.
                unsafe { Heap.dealloc(ptr, layout(size, 8)) };
            }
        }
        // The piece came to its end meanwhile.
        assert!(in_piece > 500 && in_piece < 4000, "{in_piece}");
        for (ptr, size, byte) in held {
            // SAFETY: it is held, and has that size.
            let bytes = unsafe { std::slice::from_raw_parts(ptr, size) };
            assert!(bytes.iter().all(|b| *b == byte));
            // SAFETY: as above.
            unsafe { Heap.dealloc(ptr, layout(size, 8)) };
        }
        live_on();
        for (size, align) in [(1, 1), (LARGEST, 16), (LARGEST + 1, 64), (1 << 20, 4096)] {
            // SAFETY: the size is not 0.
            let ptr = unsafe { Heap.alloc(layout(size, align)) };
            assert!(place(ptr).is_none() && ptr.addr() % align == 0);
            // SAFETY: it has just been made, with that layout.
            unsafe { Heap.dealloc(ptr, layout(size, align)) };
        }
    }
}
