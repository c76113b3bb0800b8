//! SIGHUP, `watch_rules`: what is on disk in the place of what is in force, as a whole or not at all.

use std::path::Path;

use output::event::{Body, DaemonEvent};
use output::pipeline::Reconfigured;
use rules::RuleSet;

use super::Daemon;
use super::requester::Requester;
use crate::config::Config;
use crate::store::{Change, IMMUTABLE, Store, What};

impl Daemon {
    /// SIGHUP: configuration, plugins and rules again. If anything is wrong, that is told, and all stays as it was.
    pub(super) fn reload(&mut self, who: &Requester) {
        let reloaded = self.try_reload(who);
        self.record_reload(reloaded, who);
    }

    /// The rules changed on disk.
    pub(super) fn reload_rules(&mut self) {
        let who = Requester::own();
        let rules = self.check_lock(&who).and_then(|()| self.read_rules(&self.config.rules));
        let reloaded = rules.and_then(|rules| self.replace_rules((self.store.clone(), Vec::new()), rules, &who));
        self.record_reload(reloaded, &who);
    }

    fn record_reload(&self, reloaded: Result<(), String>, who: &Requester) {
        match &reloaded {
            Ok(()) => tracing::info!("reloaded: {} rules", self.store.rules().len()),
            Err(reason) => tracing::error!("all stays as it was: {reason}"),
        }
        let state = if reloaded.is_ok() { "changed" } else { "no-change" };
        let (success, reason) = (reloaded.is_ok(), reloaded.err());
        let mut details = vec![("state".into(), state.to_owned())];
        details.extend(reason.map(|reason| ("reason".into(), reason)));
        let event = who.event("DAEMON_CONFIG", "reconfigure", details);
        self.push(Body::Daemon(DaemonEvent { success, ..event }));
    }

    fn check_lock(&self, who: &Requester) -> Result<(), String> {
        if self.store.is_locked() {
            self.record(&[Change { what: What::Locked("add_rule"), done: false }], who);
            return Err(IMMUTABLE.to_owned());
        }
        Ok(())
    }

    fn try_reload(&mut self, who: &Requester) -> Result<(), String> {
        self.check_lock(who)?;
        let config = self.options.configuration().map_err(|error| error.to_string())?;
        // Wrong rules are found before an output is touched.
        let rules = self.read_rules(&config.rules)?;
        let outputs = self.pipeline.reconfigure(&config.outputs, &config.node).map_err(|error| error.to_string())?;
        tell_outputs(&outputs);
        if let Err(reason) = self.replace_rules(self.base_of(&config), rules, who) {
            if let Err(error) = self.pipeline.reconfigure(&self.config.outputs, &self.config.node) {
                tracing::error!("the outputs of before cannot be opened again: {error}");
            }
            return Err(reason);
        }
        self.adopt(config);
        if let Some(kept) = &self.kept {
            kept.reloaded();
        }
        Ok(())
    }

    /// What new rules come on top of.
    fn base_of(&self, config: &Config) -> (Store, Vec<Change>) {
        let (store, changes) = self.store.enforcing(config.enforce);
        let guard = super::guard_of(&self.options, config, self.kept.as_ref(), self.mode);
        (store.failing(config.fail).guarded_by(guard), changes)
    }

    /// Those that the mode can honour.
    fn read_rules(&self, rules: &Path) -> Result<RuleSet, String> {
        let rules = super::load_rules(rules).and_then(|loadable| super::fitted(loadable, self.mode));
        rules.map_err(|error| error.to_string())
    }

    /// `base`: the settings that the rules come on top of, and what changed in them.
    fn replace_rules(&mut self, base: (Store, Vec<Change>), rules: RuleSet, who: &Requester) -> Result<(), String> {
        let (base, mut changes) = base;
        let (store, more) = base.replaced(rules);
        changes.extend(more);
        self.put_in_force(store).map_err(|error| error.to_string())?;
        // Events under the rules before come before the record of the change.
        self.drain();
        self.record(&changes, who);
        Ok(())
    }

    /// Outputs and rules of this configuration are in force; the rest of it now is, but for what the daemon began with.
    fn adopt(&mut self, config: Config) {
        let before = &self.config;
        let (config, waiting) = config.behind(before);
        if !waiting.is_empty() {
            tracing::warn!("in force after the next start: {}", waiting.join(", "));
        }
        let watched = (&before.rules, before.watch_rules) == (&config.rules, config.watch_rules);
        if !watched {
            self.rules_watch = super::watch_rules(&config);
        }
        self.config = config;
    }
}

fn tell_outputs(Reconfigured { kept, replaced, opened, closed }: &Reconfigured) {
    tracing::info!(
        "outputs: {kept} as before, {} changed, {} new, {} closed",
        replaced.len(),
        opened.len(),
        closed.len()
    );
    for sink in closed {
        tracing::info!("{}: {} events written, {} lost", sink.sink, sink.written, sink.lost_total());
    }
}
