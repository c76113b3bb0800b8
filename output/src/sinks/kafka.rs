//! The `kafka` sink: records of one partition of a topic, in order, each acknowledged by all replicas in sync. The key of each is its
//! id, by which consumers know what comes twice.
//!
//! The client is rskafka. It is asynchronous; its runtime has no thread of its own, but runs on the sender's while that waits for
//! an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression as Codec, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record as KafkaRecord;
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};

use super::Sink;
use super::message::{self, Message};
use super::network::client_config;
use super::spooled::{Delivery, Pace, SpooledSink};
use crate::config::{Compression, KafkaConfig, KafkaLogin, SaslMechanism};
use crate::counters::Meter;
use crate::error::OutputError;
use crate::spool::Spooled;

/// Records that may be on their way.
const BATCH: usize = 1000;
/// What a record takes on the wire besides key and text, at most.
const FRAMING: usize = 64;
/// How long the client tries by itself, finding the partition's leader anew, in each of three loops that stand one in the other:
/// outages are the sender's affair.
const RETRIES: Duration = Duration::from_millis(100);
/// How long a cluster may take for one request, all replicas included.
const ANSWER: Duration = Duration::from_secs(30);

/// Opens the sink.
pub(super) fn open(
    config: &KafkaConfig,
    name: &str,
    node: &str,
    meter: Arc<Meter>,
) -> Result<Box<dyn Sink>, OutputError> {
    let tls = config.tls.as_ref().map(client_config).transpose();
    let tls = tls.map_err(|source| OutputError::Tls { sink: name.to_owned(), source })?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| OutputError::Thread { sink: name.to_owned(), source })?;
    let encode = Message { format: config.format, max_bytes: config.max_bytes.get() };
    let delivery = KafkaDelivery { runtime, partition: None, config: config.clone(), tls, node: node.to_owned() };
    Ok(Box::new(SpooledSink::open(name, &config.spool, Box::new(encode), Box::new(delivery), meter)?))
}

struct KafkaDelivery {
    /// Before the runtime, in which its connections live.
    partition: Option<PartitionClient>,
    runtime: Runtime,
    config: KafkaConfig,
    tls: Option<Arc<ClientConfig>>,
    node: String,
}

impl Delivery for KafkaDelivery {
    fn pace(&self) -> Pace {
        Pace { records: BATCH, after: Duration::ZERO }
    }

    /// Sends and waits until the replicas have all.
    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        if self.partition.is_none() {
            self.partition = Some(self.runtime.block_on(in_time(self.connect()))?);
        }
        let Some(partition) = &self.partition else { return Err(io::ErrorKind::NotConnected.into()) };
        let codec = codec(self.config.compression);
        for records in requests(batch, self.config.max_bytes.get()) {
            let produce = async { partition.produce(records, codec).await.map_err(io::Error::other) };
            self.runtime.block_on(in_time(produce))?;
        }
        Ok(())
    }

    /// They were, each request by its answer.
    fn acknowledge(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn reset(&mut self) {
        self.partition = None;
    }
}

impl KafkaDelivery {
    async fn connect(&self) -> io::Result<PartitionClient> {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(100),
            base: 2.0,
            deadline: Some(RETRIES),
        };
        let mut builder =
            ClientBuilder::new(self.config.brokers.clone()).client_id("auditd-bpf").backoff_config(backoff);
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(login) = &self.config.login {
            builder = builder.sasl_config(sasl(login));
        }
        let client = builder.build().await.map_err(io::Error::other)?;
        let partition = match self.config.partition {
            Some(partition) => partition,
            None => self.partition_of_node(&client).await?,
        };
        let topic = self.config.topic.clone();
        client.partition_client(topic, partition, UnknownTopicHandling::Error).await.map_err(io::Error::other)
    }

    async fn partition_of_node(&self, client: &Client) -> io::Result<i32> {
        let topics = client.list_topics().await.map_err(io::Error::other)?;
        let topic = topics.into_iter().find(|topic| topic.name == self.config.topic);
        let partitions: Vec<i32> = topic.map(|topic| topic.partitions.into_iter().collect()).unwrap_or_default();
        let hash = crc32fast::hash(self.node.as_bytes()) as usize;
        let place = hash.checked_rem(partitions.len());
        let partition = place.and_then(|place| partitions.get(place).copied());
        partition.ok_or_else(|| io::Error::other(format!("the cluster has no topic `{}`", self.config.topic)))
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ANSWER, work).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Cuts a batch so that no request is longer than the longest record may be: brokers measure both alike.
fn requests(batch: &[Spooled], max_bytes: usize) -> Vec<Vec<KafkaRecord>> {
    let (mut requests, mut length): (Vec<Vec<KafkaRecord>>, usize) = (Vec::new(), 0);
    for spooled in batch {
        let added = spooled.payload.len() + FRAMING;
        match requests.last_mut() {
            Some(records) if length + added <= max_bytes => {
                records.push(record(&spooled.payload));
                length += added;
            }
            _ => {
                requests.push(vec![record(&spooled.payload)]);
                length = added;
            }
        }
    }
    requests
}

fn record(payload: &[u8]) -> KafkaRecord {
    let (id, text) = message::parts(payload);
    // The id is `node:time:serial`.
    let time = id.rsplit(|byte| *byte == b':').nth(1).and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
    KafkaRecord {
        key: Some(id.to_vec()),
        value: Some(text.to_vec()),
        headers: std::collections::BTreeMap::new(),
        timestamp: DateTime::from_timestamp_nanos(time.unwrap_or_default()),
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::NoCompression,
        Compression::Gzip => Codec::Gzip,
        Compression::Zstd => Codec::Zstd,
    }
}

fn sasl(login: &KafkaLogin) -> SaslConfig {
    let credentials = Credentials::new(login.user.clone(), login.password.clone());
    match login.mechanism {
        SaslMechanism::Plain => SaslConfig::Plain(credentials),
        SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(sequence: u64, length: usize) -> Spooled {
        let mut payload = format!("web1:1795503850123456789:{sequence}\n").into_bytes();
        payload.resize(payload.len() + length, b'x');
        Spooled { sequence, events: 1, payload }
    }

    #[test]
    fn requests_are_no_longer_than_a_record_may_be() {
        let batch: Vec<_> =
            [10, 400, 400, 900, 10, 10].into_iter().zip(0..).map(|(length, n)| spooled(n, length)).collect();
        let counts: Vec<usize> = requests(&batch, 1000).iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 1, 1, 2]);
        let keys = requests(&batch, 1000).into_iter().flatten().map(|record| record.key.unwrap());
        let expected = (0..6).map(|serial| format!("web1:1795503850123456789:{serial}").into_bytes());
        assert!(keys.eq(expected), "each once, in order");
    }

    #[test]
    fn a_record_has_its_id_as_key_and_the_time_of_the_event() {
        let record = record(b"we:b1:1795503850123456789:7\n{\"a\":\n1}");
        assert_eq!(record.key.as_deref(), Some(b"we:b1:1795503850123456789:7".as_slice()));
        assert_eq!(record.value.as_deref(), Some(b"{\"a\":\n1}".as_slice()));
        assert_eq!(record.timestamp.timestamp_millis(), 1_795_503_850_123);
    }
}
