//! `auditd-bpf daemon`: rules in, events out, until it is told to end.
//!
//! Start: rules, plan, host, outputs, kernel side; each refuses before the next is touched. Then [`Daemon::run`] is one loop:
//! samples out of the ring buffer, signals, and what changed on disk. End: detach, drain, flush.

mod error;
mod losses;
mod persistence;
mod predecessor;
mod probation;
mod reload;
mod requester;
mod requests;
mod start;
mod unrecorded;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auditd_bpf_common::limits::RING_BYTES;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use output::Pipeline;
use output::event::{self, Body, Event, RuleRef, Verdict, Word};
use rules::{Plan, RuleSet, Syscalls};
use tables::{Arch, syscalls};

use crate::cli::DaemonOptions;
use crate::config::{Config, UserMessagesChoice};
use crate::control::server::Server;
use crate::decode::Decoder;
use crate::doctor;
use crate::exclusions::Exclusions;
use crate::file_watch::FileWatch;
use crate::guard::{self, Guard};
use crate::host_facts::HostFacts;
use crate::identity::Identities;
use crate::keeper::{Heard, Kept};
use crate::kernel::engine::Engine;
use crate::kernel::pins::Left;
use crate::key_counts::KeyCounts;
use crate::metrics::Metrics;
use crate::mode::{self, Mode};
use crate::mounts::{MOUNTINFO, MountTable, MountsByDevice};
use crate::names::HostNames;
use crate::rule_files;
use crate::rules_watch::RulesWatch;
use crate::safety::Vital;
use crate::store::{Change, Locked, Store, What};
use crate::user_messages::UserMessages;
pub use error::StartError;
pub use predecessor::will_of;

use error::system;

use predecessor::Predecessor;
use probation::Probation;
use requester::Requester;

/// How often losses are looked for, and reported if there are any.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);
/// Programs that were running when the rules were withdrawn have ended after this time.
const WITHDRAW_GRACE: Duration = Duration::from_millis(20);
/// How long outputs may take to write what is left when the daemon ends.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// What `auditctl --signal` and service managers send.
pub const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCONT];

/// Runs until it is told to end; started by a keeper, or alone.
///
/// # Errors
/// If it cannot start, or cannot go on.
pub fn run(options: &DaemonOptions, config: Config, kept: Option<Kept>) -> Result<(), StartError> {
    start::abort_where_main_panics();
    let before = kept.as_ref().and_then(Kept::before);
    let locked = before.and_then(|before| before.locked.as_ref());
    // First what is quick to tell. What is locked is as it was, whatever is written by now.
    let begin = match locked {
        Some(locked) => Begin::As(locked),
        None => Begin::With(Box::new(load_rules(&config.rules)?)),
    };
    let report = doctor::probe(config.kernel.mode.fixed());
    let mode = report.require_mode()?;
    if let Some(why) = report.why() {
        tracing::warn!("mode {}: {}; not mode lsm, because {why}", mode.name(), mode.meaning());
    }
    if let Some(before) = before.map(|before| before.mode).filter(|before| *before != mode) {
        return Err(StartError::OtherMode { before, now: mode });
    }
    let guard = guard_of(options, &config, kept.as_ref(), mode);
    let (store, changes) = match begin {
        Begin::As(locked) => (Store::relocked(locked, guard).map_err(StartError::Rules)?, Vec::new()),
        Begin::With(loadable) => {
            let store = Store::default().enforcing(config.enforce).0.failing(config.fail).guarded_by(guard);
            store.replaced(fitted(*loadable, mode)?)
        }
    };
    let plan = unrecorded::plan_in(mode, &store)?;
    let vital = (!options.force && locked.is_none()).then(Vital::of_host);
    spared(vital.as_ref(), &store)?;
    // Before any thread starts, so that all of them leave the signals to the loop.
    let signals = start::take_signals()?;
    // Before anything else is touched: another daemon may have it.
    let control = Server::start(&config.control_socket)?;
    let found = Found { left: persistence::left(&config, kept.as_ref())?, kept };
    let names = Arc::new(HostNames::default());
    let pipeline = Pipeline::start(&config.outputs, &config.node, names)?;
    let mut daemon = Daemon::start(options, config, Loaded { store, plan, mode, vital }, found, pipeline, control)?;
    daemon.record_messages(&changes);
    let ended = daemon.run(&signals);
    let who = ended.as_ref().map_or_else(|_| Requester::own(), Requester::clone);
    daemon.stop(&who);
    ended.map(drop)
}

/// What a daemon begins with.
enum Begin<'a> {
    /// What another had locked.
    As(&'a Locked),
    /// What is written.
    With(Box<(RuleSet, Plan)>),
}

/// Reads, checks and plans the rules; whatever is wrong with them is told at once.
fn load_rules(rules: &Path) -> Result<(RuleSet, Plan), StartError> {
    let sources = rule_files::read(&[rules.to_path_buf()]).map_err(StartError::RuleFiles)?;
    let (ruleset, warnings) = rules::parse(&sources, &HostFacts).into_loadable().map_err(StartError::Rules)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let plan = Plan::compile(&ruleset).map_err(StartError::Rules)?;
    Ok((ruleset, plan))
}

/// What the configuration has guarded, where anything can be refused.
fn guard_of(options: &DaemonOptions, config: &Config, kept: Option<&Kept>, mode: Mode) -> Guard {
    if mode == Mode::Lsm {
        return Guard::of_daemon(config, options.config.as_deref(), kept);
    }
    if !config.protect.is_empty() {
        tracing::warn!("protect is not in force: mode {} refuses nothing", mode.name());
    }
    Guard::default()
}

/// What of the rules the mode can honour.
fn fitted((rules, plan): (RuleSet, Plan), mode: Mode) -> Result<RuleSet, StartError> {
    let (rules, warnings) = mode::fit(rules, &plan, mode).map_err(StartError::Rules)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(rules)
}

/// Whether what must not be refused is not.
fn spared(vital: Option<&Vital>, store: &Store) -> Result<(), StartError> {
    let vital = vital.filter(|_| store.settings().enforce);
    let refused = vital.map(|vital| vital.refused_by(store.rules())).unwrap_or_default();
    if refused.is_empty() { Ok(()) } else { Err(StartError::Rules(refused)) }
}

struct Daemon {
    /// Where the configuration comes from.
    options: DaemonOptions,
    config: Config,
    store: Store,
    /// What of the store is in force.
    plan: Plan,
    mode: Mode,
    /// What rules must not refuse; `None` for `--force`.
    vital: Option<Vital>,
    control: Server,
    rules_watch: Option<RulesWatch>,
    /// Losses before `--reset-lost`.
    lost_before: u64,
    identities: Identities,
    engine: Engine,
    decoder: Decoder,
    pipeline: Pipeline,
    metrics: Option<Metrics>,
    files: FileWatch,
    mountinfo: Option<std::fs::File>,
    /// What a [`Guard`] names in /proc, so that it stays that.
    _kept_open: Vec<std::fs::File>,
    kept: Option<Kept>,
    /// Whether its keeper ended before it, and nothing was guarded.
    is_orphaned: bool,
    messages: Option<UserMessages>,
    /// Events by [`Verdict`].
    verdicts: [u64; Verdict::ALL.len()],
    keys: KeyCounts,
    reported: HashMap<&'static str, u64>,
    losses_seen: Instant,
    /// Where the next daemon finds what it must know of this one, if it is to take over.
    will: Option<PathBuf>,
    predecessors: Vec<Predecessor>,
    probation: Option<Probation>,
}

/// Rules that are to be put in force first.
struct Loaded {
    store: Store,
    plan: Plan,
    mode: Mode,
    vital: Option<Vital>,
}

/// What there was before the daemon.
struct Found {
    left: Vec<Left>,
    kept: Option<Kept>,
}

enum Asked {
    GoOn,
    /// By whom.
    End(Requester),
}

impl Daemon {
    fn start(
        options: &DaemonOptions,
        config: Config,
        loaded: Loaded,
        found: Found,
        pipeline: Pipeline,
        control: Server,
    ) -> Result<Self, StartError> {
        let pins = persistence::pins(&config, &loaded, &found);
        let Loaded { store, plan, mode, vital } = loaded;
        let Found { left, kept } = found;
        let settings = start::settings(&config, kept.as_ref(), mode)?;
        let mut daemon = Self {
            identities: Identities::look_up(&plan, &MountTable::read()),
            will: persistence::will_path(&config, pins.as_ref()),
            predecessors: left
                .into_iter()
                .map(|left| Predecessor::new(left, &config.control_socket, pipeline.serials()))
                .collect(),
            probation: None,
            engine: Engine::load(settings, config.kernel.call_ends.fixed(), pins)?,
            decoder: Decoder::new(pipeline.serials(), Box::<MountsByDevice>::default()),
            metrics: start_metrics(&config)?,
            files: FileWatch::new(),
            mountinfo: std::fs::File::open(MOUNTINFO).ok(),
            _kept_open: guard::kept_open([Some(settings.daemon), settings.keeper].into_iter().flatten()),
            kept,
            is_orphaned: false,
            messages: None,
            verdicts: [0; Verdict::ALL.len()],
            keys: KeyCounts::default(),
            reported: HashMap::new(),
            losses_seen: Instant::now(),
            rules_watch: watch_rules(&config),
            lost_before: 0,
            options: options.clone(),
            config,
            store,
            plan,
            mode,
            vital,
            control,
            pipeline,
        };
        // What waits of those before is in the log before anything of ours.
        daemon.drain();
        daemon.tell_locked(&daemon.store);
        daemon.attach()?;
        daemon.retire_predecessors();
        if let Some(kept) = &daemon.kept {
            kept.ready(mode);
        }
        // Those that another daemon had in force stay, as they would with that one.
        if daemon.kept.as_ref().and_then(Kept::before).is_none() {
            daemon.begin_probation(daemon.store.without_rules());
        }
        daemon.messages = hear_messages(&daemon.config);
        daemon.push(Body::Daemon(Requester::own().event("DAEMON_START", "start", daemon.start_words())));
        tracing::info!(
            "ready: {} rules, {} programs attached, node {}, ring buffer {} KiB{}",
            daemon.plan.rules.len(),
            daemon.engine.attached(),
            daemon.config.node,
            settings.ring_bytes >> 10,
            if settings.ring_bytes == RING_BYTES { "" } else { " (configured)" },
        );
        if let Err(error) = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]) {
            tracing::warn!("cannot tell systemd that the daemon is ready: {error}");
        }
        Ok(daemon)
    }

    /// Puts a store in force in place of the one before, on [probation](Probation) if that is asked for; if it cannot be done, the
    /// one before stays.
    fn put_in_force(&mut self, store: Store) -> Result<(), StartError> {
        let before = self.store.clone();
        self.replace_by(store)?;
        self.begin_probation(before);
        Ok(())
    }

    fn replace_by(&mut self, store: Store) -> Result<(), StartError> {
        let plan = unrecorded::plan_in(self.mode, &store)?;
        mode::fit(store.rules().clone(), &plan, self.mode).map_err(StartError::Rules)?;
        spared(self.vital.as_ref(), &store)?;
        let old = std::mem::replace(&mut self.plan, plan);
        self.identities = Identities::look_up(&self.plan, &MountTable::read());
        // First: who comes after this daemon must know, whenever it ends.
        self.tell_locked(&store);
        if let Err(error) = self.attach() {
            self.tell_locked(&self.store);
            self.plan = old;
            self.identities = Identities::look_up(&self.plan, &MountTable::read());
            return Err(error);
        }
        self.store = store;
        self.leave_no_guard();
        self.write_will();
        Ok(())
    }

    /// Puts `self.plan` in force. The rule book first: no event may come before its rule is known.
    fn attach(&mut self) -> Result<(), StartError> {
        let unrefusable = self.engine.unrefusable(&self.plan);
        if !unrefusable.is_empty() {
            return Err(StartError::Rules(unrefusable));
        }
        self.decoder.rules().insert(self.engine.next_generation(), rule_refs(&self.plan));
        self.write_will();
        let (_, missing) = self.engine.apply(&self.plan, &self.identities)?;
        for (arch, number) in missing.into_iter().filter(|call| named_explicitly(&self.plan, *call)) {
            let name = syscalls::name(arch, number).unwrap_or("?");
            tracing::warn!(
                "this kernel does not let {name} ({} {number}) be traced: rules on it do not see it",
                arch.name()
            );
        }
        self.files.watch(&self.identities.directories);
        Ok(())
    }

    /// Until it is told to end; returns by whom.
    fn run(&mut self, signals: &SignalFd) -> Result<Requester, StartError> {
        loop {
            self.wait(signals)?;
            self.drain();
            if self.files.changed() || self.mounts_changed() {
                self.refresh();
            }
            self.serve();
            if self.rules_watch.as_ref().is_some_and(RulesWatch::settled) {
                self.reload_rules();
            }
            if self.losses_seen.elapsed() >= LOSS_INTERVAL {
                self.engine.rest();
                self.end_probation();
                self.bury_predecessors();
                self.report_losses();
                // Whoever looks for losses is alive: systemd's watchdog waits for this (sd_watchdog_enabled(3)).
                if let Err(error) = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]) {
                    tracing::debug!("cannot tell systemd that the daemon is alive: {error}");
                }
                if let Some(metrics) = &self.metrics {
                    metrics.publish(self.status());
                }
            }
            if let Asked::End(who) = self.obey(signals)? {
                return Ok(who);
            }
        }
    }

    /// Until it is time to look, or something asks for it sooner.
    fn wait(&self, signals: &SignalFd) -> Result<(), StartError> {
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.wakeup(), PollFlags::POLLIN),
        ];
        if self.takes_events() {
            fds.push(PollFd::new(self.engine.wakeup(), PollFlags::POLLIN));
        }
        if let Some(mountinfo) = &self.mountinfo {
            fds.push(PollFd::new(mountinfo.as_fd(), PollFlags::POLLPRI));
        }
        fds.extend(self.kept.as_ref().and_then(Kept::wakeup).map(|keeper| PollFd::new(keeper, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(self.config.kernel.poll_ms.duration()).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(system("wait for events")(errno)),
        }
    }

    /// What it was sent, and what its keeper was.
    fn obey(&mut self, signals: &SignalFd) -> Result<Asked, StartError> {
        while let Some(info) = signals.read_signal().map_err(system("receive a signal"))? {
            if let end @ Asked::End(_) =
                self.heed(info.ssi_signo.cast_signed(), Requester::of(info.ssi_pid, info.ssi_uid))
            {
                return Ok(end);
            }
        }
        match self.kept.as_mut().map(Kept::hear) {
            None => {}
            Some(Heard::Ended) => return Ok(self.lose_keeper()),
            Some(Heard::Asked(asked)) => {
                for asks in asked {
                    if let end @ Asked::End(_) = self.heed(asks.signal, Requester::of(asks.pid, asks.uid)) {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(Asked::GoOn)
    }

    fn heed(&mut self, signal: i32, who: Requester) -> Asked {
        match Signal::try_from(signal) {
            Ok(Signal::SIGHUP) => self.reload(&who),
            Ok(Signal::SIGUSR1) => self.pipeline.rotate(&who.event("DAEMON_ROTATE", "rotate-logs", Vec::new())),
            Ok(Signal::SIGUSR2) => self.resume(&who),
            Ok(Signal::SIGCONT) => self.log_state(),
            _ => return Asked::End(who),
        }
        Asked::GoOn
    }

    /// Has the keeper know what the next daemon must go on with, should this one be killed.
    fn tell_locked(&self, store: &Store) {
        let Some(kept) = self.kept.as_ref().filter(|_| store.is_locked() || self.store.is_locked()) else { return };
        kept.locked(self.mode, store.locked());
    }

    /// Outputs that an action suspended go on.
    fn resume(&self, who: &Requester) {
        tracing::info!("SIGUSR2 of pid {}: resuming outputs", who.pid);
        self.pipeline.resume();
        self.push(Body::Daemon(who.event("DAEMON_RESUME", "resume-logging", Vec::new())));
    }

    /// Takes what waits, as far as it may be taken now.
    fn drain(&mut self) {
        if self.plan.refuses_unrecorded() { self.take_while(Pipeline::has_room) } else { self.take_while(|_| true) }
    }

    fn take_while(&mut self, goes_on: impl Fn(&Pipeline) -> bool) {
        let Self { predecessors, engine, decoder, plan, pipeline, messages, verdicts, keys, .. } = self;
        let exclusions = Exclusions::new(&plan.exclusions);
        let mut deliver = |event| {
            if let Some(event) = exclusions.apply(event) {
                if let Body::Syscall(call) = &event.body {
                    verdicts[call.verdict as usize] += 1;
                    keys.count(call);
                }
                pipeline.push(Arc::new(event));
            }
        };
        predecessors.iter_mut().for_each(|predecessor| predecessor.drain(&mut deliver));
        engine.drain_while(|| goes_on(pipeline), |sample| decoder.sample(sample).into_iter().for_each(&mut deliver));
        let records = messages.iter().flat_map(|messages| std::iter::from_fn(|| messages.next()));
        for record in records.filter(|record| exclusions.keep_message(record, &plan.user)) {
            let body = Body::Messages(vec![record.message]);
            pipeline.push(Arc::new(Event { time: record.time, serial: pipeline.serials().next(), body }));
        }
    }

    /// What the rules' paths are now.
    fn refresh(&mut self) {
        let identities = Identities::look_up(&self.plan, &MountTable::read());
        if identities == self.identities {
            return;
        }
        if let Err(error) = self.engine.refresh(&identities) {
            tracing::error!("watched files have changed, and the kernel tables could not follow: {error}");
            return;
        }
        self.files.watch(&identities.directories);
        self.identities = identities;
    }

    fn mounts_changed(&self) -> bool {
        let Some(mountinfo) = &self.mountinfo else { return false };
        let mut fds = [PollFd::new(mountinfo.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// As auditd's, with the format of the first output in the place of the log's.
    fn start_words(&self) -> Vec<(Word, String)> {
        let kernel = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
        let format = self.config.outputs.first().map_or("none", |output| output.format().name());
        vec![
            ("ver".into(), env!("CARGO_PKG_VERSION").to_owned()),
            ("format".into(), format.to_owned()),
            ("kernel".into(), kernel.unwrap_or_else(|_| "?".to_owned())),
        ]
    }

    /// Messages in rule files; that their rules are in force, DAEMON_START says.
    fn record_messages(&self, changes: &[Change]) {
        let messages: Vec<_> =
            changes.iter().filter(|change| matches!(change.what, What::Message(_))).cloned().collect();
        self.record(&messages, &Requester::own());
    }

    fn push(&self, body: Body) {
        let event = Event { time: event::now(), serial: self.pipeline.serials().next(), body };
        if let Some(event) = Exclusions::new(&self.plan.exclusions).apply(event) {
            self.pipeline.push(Arc::new(event));
        }
    }

    fn stop(mut self, who: &Requester) {
        let stays = self.stays();
        if stays {
            tracing::info!("the rules stay in force, and their events wait for the next start");
        } else if let Err(error) = self.engine.withdraw() {
            tracing::error!("the rules stay in force until everything is detached: {error}");
        }
        if let Some(messages) = &mut self.messages {
            messages.stop();
        }
        std::thread::sleep(WITHDRAW_GRACE);
        self.predecessors.iter_mut().for_each(Predecessor::wait);
        self.bury_predecessors();
        self.take_last();
        self.report_losses();
        self.push(Body::Daemon(who.event("DAEMON_END", "terminate", Vec::new())));
        for (_, name, count) in self.engine.counters().unwrap_or_default() {
            tracing::debug!("{name}: {count}");
        }
        if !stays {
            self.engine.unpin();
            self.write_will();
        }
        let Self { engine, pipeline, .. } = self;
        for sink in pipeline.close(CLOSE_PATIENCE) {
            tracing::info!("{}: {} events written, {} lost", sink.sink, sink.written, sink.lost_total());
        }
        if stays {
            engine.leave();
        }
    }
}

/// What programs tell, if the configuration asks for it. Where it cannot be had the daemon does without.
fn hear_messages(config: &Config) -> Option<UserMessages> {
    match config.kernel.user_messages {
        UserMessagesChoice::Off => None,
        UserMessagesChoice::Auto => UserMessages::start()
            .inspect_err(|error| tracing::warn!("messages of programs are not received: the kernel's audit: {error}"))
            .ok(),
    }
}

/// Listens for scrapes, if the configuration asks for it.
fn start_metrics(config: &Config) -> Result<Option<Metrics>, StartError> {
    let started = config.metrics.as_ref().map(|metrics| Metrics::start(&metrics.listen)).transpose();
    started.map_err(|source| StartError::System { what: "listen for [metrics]", source })
}

/// A watch on the rules, if the configuration asks for one. Without it the daemon is as good as one that was not asked.
fn watch_rules(config: &Config) -> Option<RulesWatch> {
    if !config.watch_rules {
        return None;
    }
    let watch = RulesWatch::start(&config.rules);
    let failed =
        |error: &notify::Error| tracing::error!("changes of {} are not followed: {error}", config.rules.display());
    watch.inspect_err(failed).ok()
}

fn named_explicitly(plan: &Plan, call: (Arch, u16)) -> bool {
    plan.rules
        .iter()
        .any(|planned| matches!(planned.rule.syscalls, Syscalls::Set(_)) && planned.syscalls.contains(&call))
}

fn rule_refs(plan: &Plan) -> Vec<RuleRef> {
    plan.rules
        .iter()
        .map(|planned| RuleRef {
            number: planned.number,
            text: planned.text.as_str().into(),
            keys: planned.rule.keys.clone().into(),
            action: planned.rule.action.name().into(),
        })
        .collect()
}
