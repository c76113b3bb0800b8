//! The `syslog` sink: messages (`frame`) over sockets of datagrams (`transport`), sent at once, or over streams (`stream`), from a
//! spool.

mod frame;
mod stream;
mod transport;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use self::frame::Framer;
use self::stream::StreamDelivery;
use self::transport::{Connect, Refusal, Transport, UdpServer, UnixServer};
use super::Sink;
use super::backoff::Backoff;
use super::network::Server;
use super::spooled::{Encode, SpooledSink};
use crate::config::{SyslogConfig, SyslogTarget};
use crate::counters::{Cause, Meter};
use crate::error::OutputError;
use crate::record::Record;

/// Opens the sink for a target.
pub(crate) fn open(config: &SyslogConfig, node: &str, meter: Arc<Meter>) -> Result<Box<dyn Sink>, OutputError> {
    let connect: Box<dyn Connect> = match &config.target {
        SyslogTarget::Unix(path) => Box::new(UnixServer(path.clone())),
        SyslogTarget::Udp { address } => Box::new(UdpServer(address.clone())),
        SyslogTarget::Tcp { address } | SyslogTarget::Tls { address } => {
            return open_stream(config, address, node, meter);
        }
    };
    let mut sink = SyslogSink::new(config, node, connect, meter);
    // A server that is not there yet is no error: it is tried again.
    sink.reconnect();
    Ok(Box::new(sink))
}

fn open_stream(
    config: &SyslogConfig,
    address: &str,
    node: &str,
    meter: Arc<Meter>,
) -> Result<Box<dyn Sink>, OutputError> {
    let name = format!("syslog:{}", config.target);
    let tls = matches!(config.target, SyslogTarget::Tls { .. }).then_some(&config.tls);
    let server = Server::new(address, tls, &name)?;
    let Some(spool) = &config.spool else { return Err(OutputError::NoSpool { sink: name }) };
    let delivery = Box::new(StreamDelivery::new(server, config.acknowledge));
    Ok(Box::new(SpooledSink::open(&name, spool, Box::new(Framer::new(config, node)), delivery, meter)?))
}

/// Sends datagrams, or lines over a UNIX socket.
struct SyslogSink {
    name: String,
    framer: Framer,
    connect: Box<dyn Connect>,
    transport: Option<Box<dyn Transport>>,
    meter: Arc<Meter>,
    /// What the socket did not take yet.
    waiting: VecDeque<Message>,
    /// What it took last: a datagram socket tells only at the next message that this one met a closed port.
    last: Option<Message>,
    backoff: Backoff,
}

/// A framed record.
struct Message {
    bytes: Vec<u8>,
    events: u64,
}

impl SyslogSink {
    fn new(config: &SyslogConfig, node: &str, connect: Box<dyn Connect>, meter: Arc<Meter>) -> Self {
        Self {
            name: config.target.to_string(),
            framer: Framer::new(config, node),
            connect,
            transport: None,
            meter,
            waiting: VecDeque::new(),
            last: None,
            backoff: Backoff::default(),
        }
    }

    fn reconnect(&mut self) {
        match self.connect.connect() {
            Ok(transport) => self.transport = Some(transport),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.transport = None;
        self.meter.failed();
        self.meter.set_stalled(true);
        if self.backoff.failed() {
            tracing::warn!(
                target_address = self.name, %error,
                "cannot reach the syslog server; records wait and are lost when the queue is full"
            );
        }
    }

    /// Sends what waits, in order, until the socket refuses.
    fn send_waiting(&mut self) {
        while let Some(transport) = &mut self.transport
            && let Some(message) = self.waiting.pop_front()
        {
            match transport.send(&message.bytes) {
                Ok(()) => {
                    self.meter.wrote(message.events, message.bytes.len());
                    self.last = Some(message);
                }
                Err(Refusal::TooLong) => {
                    tracing::warn!(target_address = self.name, bytes = message.bytes.len(), "record too long to send");
                    self.meter.give_up(Cause::TooLong, message.events);
                }
                Err(Refusal::PortClosed(error)) => {
                    self.waiting.push_front(message);
                    self.send_last_again();
                    self.failed(&error);
                }
                Err(Refusal::Failed(error)) => {
                    self.waiting.push_front(message);
                    self.failed(&error);
                }
            }
        }
    }

    /// The port was closed, so nobody has what was sent last. It is in the counters already.
    fn send_last_again(&mut self) {
        if let Some(last) = self.last.take() {
            self.waiting.push_front(Message { events: 0, ..last });
        }
    }
}

impl Encode for Framer {
    fn encode(&self, record: &Record<'_>) -> Vec<Vec<u8>> {
        self.frame(record)
    }
}

impl Sink for SyslogSink {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        let messages = self.framer.frame(record);
        let last = messages.len().saturating_sub(1);
        // The event is written when its last message is.
        let messages = messages.into_iter().enumerate();
        self.waiting
            .extend(messages.map(|(number, bytes)| Message { bytes, events: if number == last { events } else { 0 } }));
        self.send_waiting();
    }

    /// Nothing is held back that could be sent.
    fn flush(&mut self) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.backoff.until()
    }

    fn retry(&mut self) {
        if self.transport.is_none() {
            self.reconnect();
        }
        self.send_waiting();
        let Some(transport) = &mut self.transport else { return };
        if let Err(error) = transport.check() {
            self.send_last_again();
            self.failed(&error);
        } else if self.backoff.succeeded() {
            self.meter.set_stalled(false);
            tracing::info!(target_address = self.name, "the syslog server takes records again");
        }
    }

    fn close(&mut self) -> u64 {
        self.waiting.iter().map(|message| message.events).sum()
    }
}

#[cfg(test)]
mod tests;
