//! Syslog over TCP (RFC 6587, octet counting) and TLS (RFC 5425), as deliveries of a spool.
//!
//! Neither has acknowledgements, and what the kernel took, or the server's kernel, need not have been read by the server. So the
//! connection is ended in order from time to time: the server closes its side after it has read to the end, or with a reset
//! where it left something unread (RFC 2525, section 2.17; Linux's `tcp_close`). rsyslog's omfwd calls such a change of
//! connections `RebindInterval`.
//!
//! A server that is itself ending closes in order too, and may throw away what it had read and not yet worked off: syslog-ng
//! does. So an end counts only where the server goes on: where the next connection, made before, is still there a moment later.
//!
//! What TCP acknowledged before the server's end (`SIOCOUTQ`) would tell more, and not the truth: a server that is
//! stopped leaves hundreds of records behind that its kernel, and it, had taken (`tests/receivers/ends.rs` measures
//! that). So all of what is not acknowledged by an end in order is sent again, and some of it comes twice: nothing that
//! a syslog server says could prevent that.

use std::io;
use std::time::Duration;

use crate::config::Acknowledge;
use crate::sinks::network::{Connection, Server};
use crate::sinks::spooled::{Delivery, Pace};
use crate::spool::Spooled;

/// How far apart a server that ends may close its connections.
const SETTLE: Duration = Duration::from_millis(50);

/// See the module's documentation.
pub(super) struct StreamDelivery {
    server: Server,
    acknowledge: Acknowledge,
    connection: Option<Connection>,
    /// Whether something was sent over it.
    used: bool,
}

impl StreamDelivery {
    pub(super) fn new(server: Server, acknowledge: Acknowledge) -> Self {
        Self { server, acknowledge, connection: None, used: false }
    }
}

impl Delivery for StreamDelivery {
    fn pace(&self) -> Pace {
        Pace { records: self.acknowledge.records.get(), after: self.acknowledge.after }
    }

    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        // Servers, and what stands before them, end connections that are not used: nothing is lost with one.
        if !self.used && self.connection.as_mut().is_some_and(|connection| still_there(connection).is_err()) {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.server.connect().and_then(|socket| self.server.secure(socket))?),
        };
        still_there(connection)?;
        let mut frames = Vec::new();
        for message in batch {
            // SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG: RFC 6587 section 3.4.1, RFC 5425 section 4.3.
            frames.extend_from_slice(format!("{} ", message.payload.len()).as_bytes());
            frames.extend_from_slice(&message.payload);
        }
        self.used = true;
        connection.write(&frames)
    }

    fn acknowledge(&mut self) -> io::Result<u64> {
        let Some(connection) = self.connection.take() else { return Ok(0) };
        // Secured after the other's end only: a server may serve one at a time.
        let next = self.server.connect()?;
        connection.finish()?;
        self.used = false;
        let next = self.connection.insert(self.server.secure(next)?);
        std::thread::sleep(SETTLE);
        still_there(next)?;
        Ok(0)
    }

    fn reset(&mut self) {
        (self.connection, self.used) = (None, false);
    }
}

/// Fails where the server ended its side: whether it had worked off all that it had read is then not known.
fn still_there(connection: &mut Connection) -> io::Result<()> {
    if connection.server_ended()? {
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server closed the connection"));
    }
    Ok(())
}
