//! `auditd-bpf convert`: logs of one format in another.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use output::read::{Entry, LogFormat, Reader};
use output::{Content, Format, NativeStyle, Node, Record};

use crate::config::host_name;
use crate::exit_code::ExitCode;
use crate::logs;
use crate::names::{EntryNames, HostNames};

/// Options of `auditd-bpf convert`.
#[derive(Debug, Args)]
pub struct ConvertOptions {
    /// Logs, plain or compressed with gzip or zstd; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Format of the logs [default: what the first line of each looks like]
    #[arg(long, value_name = "FORMAT")]
    from: Option<From>,
    /// Format to write
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    to: To,
    /// Native records without names, as auditd's log_format = RAW
    #[arg(long)]
    raw: bool,
    /// Native records that begin with node=
    #[arg(long)]
    with_node: bool,
    /// Name of the machine where a log does not tell it [default: that of this machine]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    Json,
    Native,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    Json,
    Native,
    Text,
    Ecs,
    Ocsf,
    Cef,
}

/// Converts. What cannot be read is told on `err` and makes the status [`ExitCode::Failure`]; the rest is written.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(options: &ConvertOptions, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let Some(format) = options.format() else {
        writeln!(err, "--raw and --with-node belong to --to native; the other formats always have names and node")?;
        return Ok(ExitCode::BadArguments);
    };
    let node = options.node.clone().unwrap_or_else(host_name);
    let mut converter = Converter { format, node, host: HostNames::default(), lines: Vec::new(), out };
    let mut status = ExitCode::Success;
    for file in &options.files {
        let from = options.from.map(|from| match from {
            From::Json => LogFormat::Json,
            From::Native => LogFormat::Native,
        });
        if !converter.file(file, from, err)? {
            status = ExitCode::Failure;
        }
    }
    Ok(status)
}

impl ConvertOptions {
    /// `None` where the options do not go together.
    fn format(&self) -> Option<Format> {
        let style = NativeStyle {
            content: if self.raw { Content::Raw } else { Content::Enriched },
            node: if self.with_node { Node::Named } else { Node::Left },
        };
        match self.to {
            To::Native => Some(Format::Native(style)),
            _ if style != NativeStyle::default() => None,
            To::Json => Some(Format::Json),
            To::Text => Some(Format::Text),
            To::Ecs => Some(Format::Ecs),
            To::Ocsf => Some(Format::Ocsf),
            To::Cef => Some(Format::Cef),
        }
    }
}

struct Converter<'a> {
    format: Format,
    /// Name of the machine for logs that do not tell it.
    node: String,
    host: HostNames,
    lines: Vec<u8>,
    out: &'a mut dyn Write,
}

impl Converter<'_> {
    /// One log; whether all of it was understood.
    fn file(&mut self, file: &Path, from: Option<LogFormat>, err: &mut dyn Write) -> io::Result<bool> {
        let shown = logs::shown(file);
        let input = match logs::open(file) {
            Ok(input) => input,
            Err(error) => {
                writeln!(err, "{shown}: {error}")?;
                return Ok(false);
            }
        };
        let reader = match from {
            Some(format) => Reader::with_format(input, format),
            None => Reader::new(input),
        };
        let mut good = true;
        for entry in reader {
            match entry {
                Ok(entry) => self.write(&entry)?,
                Err(error) => {
                    good = false;
                    writeln!(err, "{shown}: {error}")?;
                }
            }
        }
        Ok(good)
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let names = EntryNames { log: &entry.names, host: &self.host };
        let node = if entry.node.is_empty() { &self.node } else { &entry.node };
        self.lines.clear();
        self.format.write_lines(&Record { event: &entry.event, node, names: &names }, &mut self.lines);
        self.out.write_all(&self.lines)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: ConvertOptions,
    }

    const NATIVE: &str = "type=USER_LOGIN msg=audit(1795503850.123:7): pid=1 uid=0 auid=1000 ses=3 \
                          msg='op=login res=success'\x1dUID=\"root\" AUID=\"joe\"\n";

    fn convert(log: &str, arguments: &[&str]) -> (ExitCode, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        std::fs::write(&file, log).unwrap();
        let line = [&["convert", file.to_str().unwrap()], arguments].concat();
        let options = Line::try_parse_from(line).unwrap().options;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&options, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn native_goes_to_json_and_back() {
        let (code, json, err) = convert(NATIVE, &["--node", "web1"]);
        assert_eq!((code, &*err), (ExitCode::Success, ""));
        let expected = concat!(
            r#"{"time":"2026-11-24T07:04:10.123000000Z","serial":7,"node":"web1","schema":1,"type":"USER_LOGIN","#,
            r#""records":[{"type":"USER_LOGIN","text":"pid=1 uid=0 auid=1000 ses=3 msg='op=login res=success'","#,
            r#""users":[{"id":0,"name":"root"},{"id":1000,"name":"joe"}]}]}"#,
            "\n"
        );
        assert_eq!(json, expected);
        assert_eq!(convert(&json, &["--to", "native"]).1, NATIVE);
        assert_eq!(convert(&json, &["--to", "native", "--with-node"]).1, format!("node=web1 {NATIVE}"));
        let raw = convert(&json, &["--to", "native", "--raw"]).1;
        assert_eq!(format!("{raw}\x1d"), NATIVE.split_inclusive('\x1d').next().unwrap().replace('\x1d', "\n\x1d"));
    }

    #[test]
    fn this_machine_gives_names_where_the_log_has_none() {
        let (_, json, _) = convert("type=USER_LOGIN msg=audit(1.000:7): uid=0\n", &[]);
        assert!(json.contains(r#""users":[{"id":0,"name":"root"}]"#), "{json}");
        assert!(json.contains(&format!("\"node\":\"{}\"", host_name())), "{json}");
    }

    #[test]
    fn what_is_no_record_is_told_and_the_rest_converted() {
        let (code, out, err) = convert(&format!("x\n{NATIVE}"), &["--to", "text"]);
        assert_eq!((code, out.lines().count()), (ExitCode::Failure, 1));
        assert!(err.ends_with("log: line 1: not a native record\n"), "{err}");
        let (code, _, err) = convert("", &["/nonexistent"]);
        assert_eq!(code, ExitCode::Failure);
        assert!(err.starts_with("/nonexistent: No such file"), "{err}");
    }

    #[test]
    fn options_of_native_are_refused_elsewhere() {
        assert_eq!(convert(NATIVE, &["--raw"]).0, ExitCode::BadArguments);
        assert_eq!(convert(NATIVE, &["--to", "text", "--with-node"]).0, ExitCode::BadArguments);
    }
}
