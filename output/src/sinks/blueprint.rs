//! What a sink is made from. Two that are equal make the same sink, so one that runs need not be replaced.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "kafka")]
use super::kafka;
#[cfg(feature = "otlp")]
use super::otlp;
use super::plugin::{self, Installed};
use super::{Sink, file, nats, stdout, syslog};
use crate::config::OutputConfig;
use crate::counters::Meter;
use crate::error::OutputError;
use crate::fs::RealFs;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blueprint {
    /// Its name in counters and warnings.
    pub(crate) name: String,
    /// The name of this machine in its records.
    pub(crate) node: Arc<str>,
    pub(crate) config: OutputConfig,
    plugin: Option<Installed>,
}

/// What only one sink can have at a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    File(&'a Path),
    Spool(&'a Path),
    Plugin(&'a Path),
    /// Those that a socket knows by its address alone, and standard output.
    Name(&'a str),
}

/// The sinks that the tables describe: one each, but for plugins.
pub(crate) fn blueprints(configs: &[OutputConfig], node: &str) -> Result<Vec<Blueprint>, OutputError> {
    if configs.is_empty() {
        return Err(OutputError::NoOutput);
    }
    let node: Arc<str> = Arc::from(node);
    let mut all = Vec::new();
    for config in configs {
        let blueprint = |name, plugin| Blueprint { name, node: Arc::clone(&node), config: config.clone(), plugin };
        match config {
            OutputConfig::Plugins(plugins) => {
                let installed = plugin::installed(plugins)?;
                all.extend(installed.into_iter().map(|plugin| blueprint(plugin.name(), Some(plugin))));
            }
            _ => all.push(blueprint(config.name(), None)),
        }
    }
    Ok(all)
}

impl Blueprint {
    pub(crate) fn place(&self) -> Place<'_> {
        match (&self.config, &self.plugin) {
            (OutputConfig::File(file), _) => Place::File(&file.path),
            (OutputConfig::Nats(nats), _) => Place::Spool(&nats.spool.path),
            (OutputConfig::Kafka(kafka), _) => Place::Spool(&kafka.spool.path),
            (OutputConfig::Otlp(otlp), _) => Place::Spool(&otlp.spool.path),
            (OutputConfig::Syslog(syslog), _) => match &syslog.spool {
                Some(spool) => Place::Spool(&spool.path),
                None => Place::Name(&self.name),
            },
            (OutputConfig::Plugins(_), Some(plugin)) => Place::Plugin(plugin.place()),
            (OutputConfig::Plugins(_) | OutputConfig::Stdout(_), _) => Place::Name(&self.name),
        }
    }

    /// Opens it; `None` for a plugin that is left out, which the log tells.
    pub(crate) fn open(&self, meter: &Arc<Meter>) -> Result<Option<Box<dyn Sink>>, OutputError> {
        let meter = Arc::clone(meter);
        Ok(Some(match (&self.config, &self.plugin) {
            (OutputConfig::File(file), _) => {
                Box::new(file::FileSink::open(file, Box::new(RealFs(file.access)), meter)?)
            }
            (OutputConfig::Syslog(syslog), _) => syslog::open(syslog, &self.node, meter)?,
            (OutputConfig::Nats(nats), _) => nats::open(nats, &self.name, meter)?,
            #[cfg(feature = "kafka")]
            (OutputConfig::Kafka(kafka), _) => kafka::open(kafka, &self.name, &self.node, meter)?,
            #[cfg(not(feature = "kafka"))]
            (OutputConfig::Kafka(_), _) => {
                return Err(OutputError::NotBuilt { sink: self.name.clone(), feature: "kafka" });
            }
            #[cfg(feature = "otlp")]
            (OutputConfig::Otlp(otlp), _) => otlp::open(otlp, &self.name, meter)?,
            #[cfg(not(feature = "otlp"))]
            (OutputConfig::Otlp(_), _) => {
                return Err(OutputError::NotBuilt { sink: self.name.clone(), feature: "otlp" });
            }
            (OutputConfig::Plugins(config), Some(plugin)) => return Ok(plugin.open(config, meter)),
            (OutputConfig::Plugins(_), None) => return Ok(None),
            (OutputConfig::Stdout(stdout), _) => Box::new(stdout::StdoutSink::open(stdout, meter)?),
        }))
    }
}
