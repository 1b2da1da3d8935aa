//! One connection: the partial request, the unsent rest of an answer, and what it waits for.

use crate::control::proto::{FrameError, HEADER_BYTES, Header, Opcode, Request, encode_reply};
use crate::control::state::COUNT;
use crate::sys::errno;
use crate::sys::event::Ready;
use crate::sys::unix::{self, Block, Creds};
use std::os::fd::{AsFd, OwnedFd};

/// The connection is over: closed by the peer, broken, or not worth an answer.
#[derive(Debug)]
pub(super) struct Gone;

/// What a connection is doing.
pub(super) enum Phase {
    /// Waiting for a request or for the rest of one.
    Reading(Partial),
    /// Waiting to be told one of these states.
    Watching([i32; COUNT]),
    /// Holding something for as long as it lasts: a terminal, or the wait for a stop.
    Holding,
    /// Waiting for a freeze or thaw.
    Freezing,
    /// To be closed when the answer is sent.
    Closing,
}

impl Phase {
    pub(super) fn reading() -> Self {
        Self::Reading(Partial::default())
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reading(_) => "idle",
            Self::Watching(_) => "watching",
            Self::Holding => "holding",
            Self::Freezing => "freezing",
            Self::Closing => "closing",
        }
    }
}

/// A request on its way in.
#[derive(Default)]
pub(super) struct Partial {
    have: usize,
    header: [u8; HEADER_BYTES],
    data: Vec<u8>,
    fd: Option<OwnedFd>,
    creds: Option<Creds>,
}

/// A whole request.
pub(super) struct Message {
    pub(super) request: Result<Request, FrameError>,
    /// A descriptor that came with it.
    pub(super) fd: Option<OwnedFd>,
    /// Who sent it.
    pub(super) creds: Option<Creds>,
}

pub(super) struct Client {
    pub(super) id: u32,
    pub(super) fd: OwnedFd,
    /// Who connected.
    pub(super) peer: Creds,
    /// And may ask.
    pub(super) admitted: bool,
    /// So it was found while the container's processes could not be told from others.
    pub(super) alone: bool,
    pub(super) phase: Phase,
    /// A request that waits until the container runs.
    pub(super) held: Option<Message>,
    pub(super) interest: Ready,
    /// What the socket did not take yet, and how much of it is gone.
    out: Vec<u8>,
    sent: usize,
}

impl Client {
    pub(super) fn new(id: u32, fd: OwnedFd, peer: Creds, admitted: bool) -> Self {
        Self {
            id,
            fd,
            peer,
            admitted,
            alone: false,
            phase: Phase::reading(),
            held: None,
            interest: Ready::READ,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// True while an answer is not wholly out.
    pub(super) fn unsent(&self) -> bool {
        self.sent < self.out.len()
    }

    /// The next whole request; `None` when there is not enough yet, or the client's turn has not
    /// come. `Gone` also for a client that speaks while it should listen.
    pub(super) fn read(&mut self) -> Result<Option<Message>, Gone> {
        // An answer must be out before the next question is looked at: one at a time.
        if self.unsent() {
            return Ok(None);
        }
        let Phase::Reading(partial) = &mut self.phase else {
            let mut byte = [0];
            return match unix::recv(self.fd.as_fd(), &mut byte, 0, Block::DontWait) {
                Err(e) if e.is(errno::EAGAIN) => Ok(None),
                _ => Err(Gone),
            };
        };
        loop {
            let missing = match partial.missing()? {
                Missing::Nothing => break,
                Missing::Bytes(n) => n,
            };
            let mut chunk = [0; 1024];
            let room = missing.min(chunk.len());
            let got = match unix::recv(self.fd.as_fd(), &mut chunk[..room], 1, Block::DontWait) {
                Ok(got) if got.len == 0 => return Err(Gone),
                Ok(got) => got,
                Err(e) if e.is(errno::EAGAIN) => return Ok(None),
                Err(e) => {
                    log::debug!("client {}: {e}", self.id);
                    return Err(Gone);
                }
            };
            partial.take(&chunk[..got.len], got);
        }
        let whole = std::mem::take(partial);
        let header = Header::decode(&whole.header);
        let data = if whole.carries_fd() { &[][..] } else { &whole.data[..] };
        Ok(Some(Message {
            request: Request::decode(&header, data),
            fd: whole.fd,
            creds: whole.creds,
        }))
    }

    /// Sends a frame with its descriptors; what does not fit follows by itself. A client that
    /// leaves no room even for the part with the descriptors is dropped.
    pub(super) fn queue(&mut self, frame: Vec<u8>, fds: Vec<OwnedFd>) -> Result<(), Gone> {
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match unix::send(self.fd.as_fd(), &frame, &borrowed, None, Block::DontWait) {
            Ok(n) if n == frame.len() => Ok(()),
            Ok(n) => {
                (self.out, self.sent) = (frame, n);
                Ok(())
            }
            Err(e) if e.is(errno::EAGAIN) && fds.is_empty() => {
                (self.out, self.sent) = (frame, 0);
                Ok(())
            }
            Err(_) => Err(Gone),
        }
    }

    /// A plain status or error.
    pub(super) fn reply(&mut self, ret: i32) -> Result<(), Gone> {
        self.queue(encode_reply(ret, 0, &[]), Vec::new())
    }

    /// Sends more of an unfinished answer.
    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        while self.unsent() {
            match unix::send(self.fd.as_fd(), &self.out[self.sent..], &[], None, Block::DontWait) {
                Ok(n) => self.sent += n,
                Err(e) if e.is(errno::EAGAIN) => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        // Gives the memory back, too.
        (self.out, self.sent) = (Vec::new(), 0);
        if matches!(self.phase, Phase::Closing) { Err(Gone) } else { Ok(()) }
    }
}

enum Missing {
    Nothing,
    Bytes(usize),
}

impl Partial {
    /// How much of the request has not arrived. A length that no request has ends the connection,
    /// for what follows cannot be told from the next request.
    fn missing(&self) -> Result<Missing, Gone> {
        if self.have < HEADER_BYTES {
            return Ok(Missing::Bytes(HEADER_BYTES - self.have));
        }
        let header = Header::decode(&self.header);
        let len = match Request::data_len(&header) {
            Ok(len) => len,
            // Answered with ENOSYS and closed, so its data need not be read.
            Err(FrameError::UnknownCommand(_)) => 0,
            Err(_) => return Err(Gone),
        };
        // The descriptor comes in a message of its own, on one byte.
        let len = if self.carries_fd() && self.fd.is_none() { len.max(1) } else { len };
        match len.saturating_sub(self.data.len()) {
            0 => Ok(Missing::Nothing),
            n => Ok(Missing::Bytes(n)),
        }
    }

    fn carries_fd(&self) -> bool {
        Header::decode(&self.header).first == Opcode::SeccompNotifyAddListener as i32
    }

    fn take(&mut self, bytes: &[u8], mut got: unix::Received) {
        if self.have < HEADER_BYTES {
            self.header[self.have..self.have + bytes.len()].copy_from_slice(bytes);
            self.have += bytes.len();
            self.creds = got.creds;
        } else {
            self.data.extend_from_slice(bytes);
        }
        if self.have >= HEADER_BYTES && self.carries_fd() {
            self.fd = got.fds.pop().or(self.fd.take());
        }
    }
}
