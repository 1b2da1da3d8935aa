//! The content of files: shared blocks where the file system can, else range by range; holes stay
//! holes.

use super::{Call, Copy, call};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Bytes between two looks at the caller's `tick`.
const CHUNK: u64 = 16 << 20;

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    /// The file is shorter than it was.
    End,
}

impl Copy<'_> {
    /// The content of a file: shared blocks, else each range of data.
    pub(super) fn data(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Call<()> {
        if self.can_clone && size > 0 {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                // EINVAL may be about this file alone (no checksums on one side of btrfs).
                Err(Errno::INVAL) => {}
                Err(_) => self.can_clone = false,
            }
        }
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // A file system without holes.
                Err(_) => at,
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
            at = end.max(start + 1);
            if self.range(from, to, start, end)? == Progress::End {
                break;
            }
        }
        call("ftruncate", rustix::fs::ftruncate(to, size))
    }

    fn range(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: u64,
    ) -> Call<Progress> {
        let (mut read, mut written) = (start, start);
        let mut buffer = Vec::new();
        let mut looked = 0;
        while read < end {
            let want = usize::try_from((end - read).min(CHUNK)).unwrap_or(1 << 20);
            let before = read;
            if self.can_range {
                let (r, w) = (Some(&mut read), Some(&mut written));
                match rustix::fs::copy_file_range(from, r, to, w, want) {
                    Ok(0) => return Ok(Progress::End),
                    Ok(_) => {}
                    // FALLBACK(<5.3): between two file systems, and what cannot do it at all.
                    Err(_) => self.can_range = false,
                }
            }
            if !self.can_range {
                buffer.resize(want.min(256 << 10), 0);
                let n = call("read", rustix::io::pread(from, buffer.as_mut_slice(), read))?;
                if n == 0 {
                    return Ok(Progress::End);
                }
                let mut rest = &buffer[..n];
                while !rest.is_empty() {
                    let n = call("write", rustix::io::pwrite(to, rest, written))?;
                    rest = &rest[n..];
                    written += n as u64;
                }
                read = written;
            }
            self.done.bytes += read - before;
            looked += read - before;
            if looked >= CHUNK {
                looked = 0;
                self.look()?;
            }
        }
        Ok(Progress::More)
    }
}
