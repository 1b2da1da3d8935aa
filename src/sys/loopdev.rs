//! Loop devices: files as block devices. One lasts as long as a descriptor of it or a mount.
#![allow(unsafe_code, reason = "these ioctls have no wrapper")]

use super::error::{Result, SysError};
use super::fd::{self, OpenFlags};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const SET_FD: u32 = 0x4c00;
const CLR_FD: u32 = 0x4c01;
const SET_STATUS64: u32 = 0x4c04;
const CONFIGURE: u32 = 0x4c0a;
const CTL_GET_FREE: u32 = 0x4c82;
const FLAG_READ_ONLY: u32 = 1;
/// The kernel lets go of the file after the last close.
const FLAG_AUTOCLEAR: u32 = 4;
/// How often a free device may be taken by somebody else before us.
const TRIES: u32 = 64;

/// A loop device that is ours while this exists, or while it is mounted.
pub struct LoopDevice {
    _device: OwnedFd,
    /// `/dev/loopN`.
    pub path: PathBuf,
}

/// Makes an open file a block device.
///
/// # Errors
/// ENOENT without loop devices in this kernel; EBUSY when others keep taking the free ones.
pub fn attach(file: BorrowedFd<'_>, read_only: bool) -> Result<LoopDevice> {
    let control = fd::open("/dev/loop-control", OpenFlags::RDWR, 0)?;
    let access = if read_only { OpenFlags::RDONLY } else { OpenFlags::RDWR };
    for _ in 0..TRIES {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE as _, 0) };
        if number < 0 {
            return Err(SysError::last("LOOP_CTL_GET_FREE", ""));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = fd::open(&path, access, 0)?;
        match configure(&device, file, read_only) {
            Ok(()) => return Ok(LoopDevice { _device: device, path }),
            Err(e) if e.is(libc::EBUSY) => {}
            Err(e) => return Err(e.with_operand(path.display())),
        }
    }
    Err(SysError::new("LOOP_CONFIGURE", "every free device", libc::EBUSY))
}

fn configure(device: &OwnedFd, file: BorrowedFd<'_>, read_only: bool) -> Result<()> {
    // SAFETY: plain old data of numbers, for which all zeros are a valid value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX);
    config.info.flags = FLAG_AUTOCLEAR | if read_only { FLAG_READ_ONLY } else { 0 };
    let number = device.as_raw_fd();
    // SAFETY: the kernel reads a `loop_config`, which outlives the call.
    if unsafe { libc::ioctl(number, CONFIGURE as _, std::ptr::from_ref(&config)) } == 0 {
        return Ok(());
    }
    let error = SysError::last("LOOP_CONFIGURE", "");
    if !error.is(libc::EINVAL) && !error.is(libc::ENOTTY) {
        return Err(error);
    }
    // FALLBACK(<5.8): in two steps.
    // SAFETY: the argument is a number.
    if unsafe { libc::ioctl(number, SET_FD as _, file.as_raw_fd()) } != 0 {
        return Err(SysError::last("LOOP_SET_FD", ""));
    }
    // SAFETY: the kernel reads a `loop_info64`, which outlives the call.
    if unsafe { libc::ioctl(number, SET_STATUS64 as _, std::ptr::from_ref(&config.info)) } != 0 {
        let error = SysError::last("LOOP_SET_STATUS64", "");
        // SAFETY: no argument; the device was ours a line ago.
        unsafe { libc::ioctl(number, CLR_FD as _, 0) };
        return Err(error);
    }
    Ok(())
}
