//! Having a monitor stop its container: one that starts it is waited for, one that is stuck is not.

use super::super::proto::{Opcode, Request, state_of};
use super::super::state::State;
use super::exchange::MORE;
use super::{Client, ClientError, Result};
use crate::sys::event::{self, Ready};
use crate::sys::unix::{self, Block};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

impl Client {
    /// Has the monitor kill the container with its stop signal and waits until the monitor has
    /// closed the connection; `false` if that did not happen before `deadline`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] if there was nobody to be asked.
    pub fn stop(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.lives.get() {
            return self.stop_alone(deadline);
        }
        // The state is asked for in the same breath: a monitor that does not answer that in time
        // is stuck, and not waited for.
        let patience = self.deadline();
        let connection = self.connect(patience)?;
        let frames = [Opcode::GetState, Opcode::Stop].map(|op| Request::Plain(op).encode());
        self.send_frame(&connection, &frames.concat(), &[])?;
        let mut starts = match self.receive(connection.as_fd(), Opcode::GetState, patience) {
            // It ends just now.
            Err(ClientError::NoReply { .. } | ClientError::NotRunning { .. }) => return Ok(true),
            answer => {
                let state = self.check(Opcode::GetState, answer?)?;
                state_of(state.number) == Some(State::Starting)
            }
        };
        let mut ready = Ok(Ready::NONE);
        // It is stopped when it runs; a start that hangs is not waited for.
        if starts {
            let patience = Instant::now().checked_add(MORE);
            let until = patience.into_iter().chain(deadline).min();
            ready = event::poll(connection.as_fd(), Ready::READ, until);
            starts = matches!(ready, Ok(Ready::NONE)) && until != deadline && self.starts();
        }
        if starts {
            return Err(self.not_yet(Opcode::Stop));
        }
        if matches!(ready, Ok(Ready::NONE)) {
            ready = event::poll(connection.as_fd(), Ready::READ, deadline);
        }
        if ready.map_err(|e| self.socket(e))? == Ready::NONE {
            // Too slow; unless the monitor itself is stopped.
            return match self.receive(connection.as_fd(), Opcode::Stop, deadline) {
                Err(e @ ClientError::Timeout { .. }) if !e.is_stopped() => Ok(false),
                done => done.map(|_| true),
            };
        }
        match unix::recv(connection.as_fd(), &mut [0], 0, Block::DontWait) {
            // LXC's monitors close after one answer, with the second question unread.
            Ok(got) if got.len == 0 && !self.is_listening_still(&connection) => Ok(true),
            // Or this one has an error to tell.
            _ => self.stop_alone(deadline),
        }
    }

    /// True if whom `connection` was to listens on the socket now.
    fn is_listening_still(&self, connection: &OwnedFd) -> bool {
        let listener = |fd: &OwnedFd| unix::peer_creds(fd.as_fd()).ok().map(|creds| creds.pid);
        let now = self.connect(self.deadline()).ok().map(|fd| listener(&fd));
        now.is_some_and(|now| now == listener(connection))
    }

    fn stop_alone(&self, deadline: Option<Instant>) -> Result<bool> {
        let op = Opcode::Stop;
        let connection = match self.connect(deadline) {
            Err(ClientError::NotRunning { .. }) => return Ok(true),
            done => done?,
        };
        self.send(&connection, &Request::Plain(op), &[])?;
        match self.receive(connection.as_fd(), op, deadline) {
            Ok(answer) => self.check(op, answer).map(|_| true),
            Err(ClientError::NoReply { .. } | ClientError::NotRunning { .. }) => Ok(true),
            Err(e @ ClientError::Timeout { .. }) if !e.is_stopped() => Ok(false),
            Err(e) => Err(e),
        }
    }
}
