//! Syslog over TCP (RFC 6587, octet counting) and TLS (RFC 5425), as deliveries of a spool.
//!
//! Neither has acknowledgements, and what the kernel took, or the server's kernel, need not have been read by the server. So the
//! connection is ended in order from time to time: the server closes its side after it has read to the end, or with a reset
//! where it left something unread (RFC 2525, section 2.17; Linux's `tcp_close`). rsyslog's omfwd calls such a change of
//! connections `RebindInterval`.

use std::io;

use crate::config::Acknowledge;
use crate::sinks::network::{Connection, Server};
use crate::sinks::spooled::{Delivery, Pace, Sent};
use crate::spool::Spooled;

/// See the module's documentation.
pub(super) struct StreamDelivery {
    server: Server,
    acknowledge: Acknowledge,
    connection: Option<Connection>,
}

impl StreamDelivery {
    pub(super) fn new(server: Server, acknowledge: Acknowledge) -> Self {
        Self { server, acknowledge, connection: None }
    }
}

impl Delivery for StreamDelivery {
    fn pace(&self) -> Pace {
        Pace { records: self.acknowledge.records.get(), after: self.acknowledge.after }
    }

    fn send(&mut self, batch: &[Spooled]) -> io::Result<Sent> {
        let mut sent = Sent::Unknown;
        if let Some(connection) = &mut self.connection
            && connection.server_ended()?
        {
            self.acknowledge()?;
            sent = Sent::PreviousArrived;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.server.connect().and_then(|socket| self.server.secure(socket))?),
        };
        let mut frames = Vec::new();
        for message in batch {
            // SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG: RFC 6587 section 3.4.1, RFC 5425 section 4.3.
            frames.extend_from_slice(format!("{} ", message.payload.len()).as_bytes());
            frames.extend_from_slice(&message.payload);
        }
        connection.write(&frames)?;
        Ok(sent)
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        self.connection.take().map_or(Ok(()), Connection::finish)
    }

    fn reset(&mut self) {
        self.connection = None;
    }
}
