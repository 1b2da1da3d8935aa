//! Frames to a monitor and back: connections, deadlines, descriptors. What the answers mean is the
//! business of the questions in `client.rs`.

use super::super::proto::{FrameError, HEADER_BYTES, Header, Opcode, Request, reply_len, state_of};
use super::super::state::State;
use super::{Answer, Client, ClientError, Holder, Result};
use crate::sys::event::{self, Ready};
use crate::sys::unix::{self, Block, Creds};
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much longer a monitor may take that is at work when its time is over.
pub(super) const MORE: Duration = Duration::from_secs(9);

/// How long a monitor that serves its socket during a start may take to say that it is at that.
const PROBE: Duration = Duration::from_millis(300);

/// The largest console log that is taken from a monitor.
const LOG_MAX: usize = 64 << 20;

impl Client {
    /// One question over an idle or a new connection.
    pub(super) fn call(&self, request: &Request) -> Result<Answer> {
        let deadline = self.deadline();
        if let Some(connection) = self.idle.take() {
            let answer = self.exchange(&connection, request, deadline);
            match answer {
                // The monitor was one of LXC's and closed it, or has been replaced.
                Err(ClientError::NoReply { .. } | ClientError::NotRunning { .. }) => {}
                _ => {
                    self.idle.set(answer.is_ok().then_some(connection));
                    return answer;
                }
            }
        }
        let (answer, connection) = self.fresh(request, deadline)?;
        self.idle.set(Some(connection));
        Ok(answer)
    }

    /// One question over a connection of its own, which is given back.
    pub(super) fn fresh(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<(Answer, OwnedFd)> {
        let connection = self.connect(deadline)?;
        let answer = self.exchange(&connection, request, deadline)?;
        Ok((answer, connection))
    }

    /// Two questions sent at once, or sent before. A monitor that closes after the first is asked
    /// again. The answer to the second is not waited for when the first is `enough`.
    pub(super) fn pair(
        &self,
        requests: [Request; 2],
        enough: &dyn Fn(&Answer) -> bool,
    ) -> [Result<Answer>; 2] {
        let asked = self.asked.take();
        let deadline = asked.as_ref().map_or_else(|| self.deadline(), |(_, deadline)| *deadline);
        let first = (|| {
            let connection = match asked {
                Some((connection, _)) => connection,
                None => {
                    let connection = self.connect(deadline)?;
                    let frames = requests.iter().flat_map(Request::encode).collect::<Vec<_>>();
                    self.send_frame(&connection, &frames, &[])?;
                    connection
                }
            };
            let op = requests[0].opcode();
            let answer = self.receive(connection.as_fd(), op, deadline)?;
            self.check(op, answer).map(|answer| (answer, connection))
        })();
        let (first, connection) = match first {
            Ok(done) => done,
            Err(e) => {
                let op = requests[1].opcode();
                return [Err(e), Err(self.no_reply(op))];
            }
        };
        let op = requests[1].opcode();
        if enough(&first) {
            return [Ok(first), Err(self.no_reply(op))];
        }
        let second = match self.receive(connection.as_fd(), op, deadline) {
            Ok(answer) => {
                self.idle.set(Some(connection));
                self.check(op, answer)
            }
            Err(ClientError::NoReply { .. } | ClientError::NotRunning { .. }) => {
                self.call(&requests[1])
            }
            Err(e) => Err(e),
        };
        [Ok(first), second]
    }

    pub(super) fn exchange(
        &self,
        connection: &OwnedFd,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Answer> {
        self.send(connection, request, &[])?;
        let answer = self.receive(connection.as_fd(), request.opcode(), deadline)?;
        self.check(request.opcode(), answer)
    }

    pub(super) fn connect(&self, deadline: Option<Instant>) -> Result<OwnedFd> {
        unix::connect_abstract(&self.address, deadline).map_err(|e| match e.errno {
            errno::EAGAIN => self.timeout(Opcode::GetState, Holder::find(&self.address)),
            _ => self.socket(e),
        })
    }

    pub(super) fn send(
        &self,
        to: &OwnedFd,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<()> {
        self.send_frame(to, &request.encode(), fds)
    }

    pub(super) fn send_frame(
        &self,
        to: &OwnedFd,
        frame: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<()> {
        // At most 8 KiB and an empty socket buffer: it is taken whole or not at all.
        match unix::send(to.as_fd(), frame, fds, Some(Creds::own()), Block::DontWait) {
            Ok(n) if n == frame.len() => Ok(()),
            Ok(_) => Err(self.socket(SysError::new("sendmsg", "", errno::EIO))),
            Err(e) => Err(self.socket(e)),
        }
    }

    pub(super) fn receive(
        &self,
        from: BorrowedFd<'_>,
        op: Opcode,
        deadline: Option<Instant>,
    ) -> Result<Answer> {
        let row = op.row();
        let mut bytes = [0; HEADER_BYTES];
        let mut fds = Vec::new();
        let mut have = 0;
        while have < bytes.len() {
            let got =
                self.receive_some(from, &mut bytes[have..], row.reply.max_fds(), op, deadline)?;
            if got.fds_lost {
                return Err(self.socket(SysError::new("recvmsg", "SCM_RIGHTS", errno::EMFILE)));
            }
            fds.extend(got.fds);
            have += got.len;
        }
        self.lives.set(true);
        let header = Header::decode(&bytes);
        let len = reply_len(row, &header).map_err(|e| self.bad_frame(op, e))?;
        if len > LOG_MAX {
            let error = FrameError::Length { what: row.name, len: header.datalen };
            return Err(self.bad_frame(op, error));
        }
        let mut data = Vec::new();
        while data.len() < len {
            // Grows with what really comes, not with what is announced.
            let start = data.len();
            data.resize(len.min(start + 64 * 1024), 0);
            let got = self.receive_some(from, &mut data[start..], 0, op, deadline)?;
            data.truncate(start + got.len);
        }
        Ok(Answer { ret: header.first, number: header.number(), data, fds })
    }

    /// At least one byte, or the reason why none came.
    pub(super) fn receive_some(
        &self,
        from: BorrowedFd<'_>,
        buf: &mut [u8],
        max_fds: usize,
        op: Opcode,
        deadline: Option<Instant>,
    ) -> Result<unix::Received> {
        loop {
            self.wait(from, op, deadline)?;
            match unix::recv(from, buf, max_fds, Block::DontWait) {
                Ok(got) if got.len == 0 => return Err(self.no_reply(op)),
                Ok(got) => return Ok(got),
                Err(e) if e.is(errno::EAGAIN) => {}
                // The monitor went away, or closed with requests of ours unread.
                Err(e) if e.is(errno::ECONNRESET) => return Err(self.no_reply(op)),
                Err(e) => return Err(self.socket(e)),
            }
        }
    }

    /// Until something can be read. Whatever the deadline, a monitor that is found stopped after
    /// a second will not answer; one that is busy, or ending, gets more time than that.
    fn wait(&self, from: BorrowedFd<'_>, op: Opcode, deadline: Option<Instant>) -> Result<()> {
        let mut deadline = deadline;
        let (mut holder, mut more) = (None, Some(MORE).filter(|_| op != Opcode::Stop));
        loop {
            let second = self.deadline();
            let until = second.into_iter().chain(deadline).min();
            let ready = event::poll(from, Ready::READ, until).map_err(|e| self.socket(e))?;
            if ready.read || ready.hangup {
                return Ok(());
            }
            let late = deadline.is_some_and(|end| end <= Instant::now());
            if op == Opcode::Stop && late {
                return Err(self.timeout(op, None));
            }
            holder = Holder::again(holder, &self.address);
            // It may have answered since, and sleep for having done so; or it ends, and its
            // connections do so last.
            let now = event::poll(from, Ready::READ, Some(Instant::now()));
            if now.is_ok_and(|ready| ready.read || ready.hangup) {
                return Ok(());
            }
            let starts = late && op != Opcode::GetState && self.starts();
            let works = match holder {
                Some(one) => starts || one.is_busy(),
                None => !unix::is_listening(&self.address),
            };
            match (holder, more) {
                (Some(one), _) if one.is_stopped() => return Err(self.timeout(op, holder)),
                (_, Some(time)) if late && works => {
                    deadline = Instant::now().checked_add(time);
                    more = None;
                }
                _ if starts => return Err(self.not_yet(op)),
                _ if late => return Err(self.timeout(op, holder)),
                _ => {}
            }
        }
    }

    /// True if the monitor says that the container is STARTING.
    pub(super) fn starts(&self) -> bool {
        let ask = || {
            let soon = Instant::now().checked_add(PROBE);
            let connection = self.connect(soon).ok()?;
            self.send(&connection, &Request::Plain(Opcode::GetState), &[]).ok()?;
            event::poll(connection.as_fd(), Ready::READ, soon).ok()?;
            let mut bytes = [0; HEADER_BYTES];
            let got = unix::recv(connection.as_fd(), &mut bytes, 0, Block::DontWait).ok()?;
            (got.len == bytes.len()).then(|| Header::decode(&bytes).number())
        };
        ask().and_then(state_of) == Some(State::Starting)
    }
}
