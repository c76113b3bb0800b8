//! The daemon's own log, on standard error.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What to log: `debug`, or `warn,output=debug`.
pub const LOG_VARIABLE: &str = "AUDITD_BPF_LOG";

/// Never logged: requests over HTTP byte by byte, with the tokens in their headers.
const SILENT: &str = "ureq_proto=off";

/// What loads programs tells of each relocation in each of them: with that in the journal, a start takes several times as long.
/// `debug` alone leaves it out, `debug,aya_obj=debug` does not.
const TALKATIVE: &str = "aya_obj";

/// Starts logging. To be called once; a second call changes nothing.
pub fn start() {
    let filter = filter(&std::env::var(LOG_VARIABLE).unwrap_or_default());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only if somebody else logs already: then that one goes on.
    let _ = if stderr_is_journal() {
        log.with_ansi(false).event_format(Journal).try_init()
    } else {
        // https://no-color.org
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_target(false).with_ansi(colours).try_init()
    };
}

fn filter(asked: &str) -> EnvFilter {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(asked);
    let is_detailed = filter.max_level_hint().is_none_or(|level| level > LevelFilter::INFO);
    let quiet = (is_detailed && !asked.contains(TALKATIVE)).then(|| format!("{TALKATIVE}=info"));
    let directives = quiet.into_iter().chain([SILENT.to_owned()]).filter_map(|directive| directive.parse().ok());
    directives.fold(filter, EnvFilter::add_directive)
}

/// systemd tells in `JOURNAL_STREAM` which device and inode its journal listens on (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Lines as the journal takes them: it has the time and the program, and reads the priority from `<N>` (sd-daemon(3)).
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        // The journal takes each line for an entry of its own.
        text.lines().try_for_each(|line| writeln!(out, "<{priority}>{line}"))
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn tokens_are_not_logged_whatever_is_asked_for() {
        for asked in ["trace", "ureq_proto=trace,trace"] {
            let lines = Lines::default();
            let writer = lines.clone();
            let log = tracing_subscriber::fmt().with_env_filter(filter(asked)).with_writer(move || writer.clone());
            tracing::subscriber::with_default(log.finish(), || {
                tracing::trace!(target: "ureq_proto::util", "Authorization: Bearer secret");
                tracing::trace!(target: "output::worker", "something else");
            });
            let lines = lines.0.lock().unwrap();
            let lines = String::from_utf8_lossy(&lines);
            assert!(lines.contains("something else") && !lines.contains("secret"), "{asked}: {lines}");
        }
    }

    #[test]
    fn the_journal_gets_a_priority_and_the_text() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Journal)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(lost = 3, "records were lost");
            tracing::info!("ready");
            tracing::error!("a.toml:1:2: wrong\n    here");
        });
        assert_eq!(
            String::from_utf8_lossy(&lines.0.lock().unwrap()),
            "<4>records were lost lost=3\n<6>ready\n<3>a.toml:1:2: wrong\n<3>    here\n"
        );
    }

    fn logged(asked_for: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_env_filter(filter(asked_for)).event_format(Journal);
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), || {
            tracing::debug!(target: "aya_obj::relocation", "relocating");
            tracing::info!(target: "aya_obj::btf", "no types");
            tracing::debug!("attached");
        });
        String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned()
    }

    #[test]
    fn relocations_are_told_only_where_they_are_asked_for_by_name() {
        assert_eq!(logged(""), "<6>no types\n");
        assert_eq!(logged("warn"), "");
        assert_eq!(logged("debug"), "<6>no types\n<7>attached\n");
        assert_eq!(logged("debug,aya_obj=debug"), "<7>relocating\n<6>no types\n<7>attached\n");
    }
}
