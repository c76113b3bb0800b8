//! Other outputs while the pipeline runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Lane, Pipeline, close_unused, open_all, spawn};
use crate::config::OutputConfig;
use crate::counters::{Cause, SinkCounters};
use crate::error::OutputError;
use crate::sinks::{Blueprint, blueprints};
use crate::worker::{Seat, Shared, Worker};

/// How long an output may take to end when another takes its place: nobody takes events out of the kernel meanwhile.
const CHANGE_PATIENCE: Duration = Duration::from_secs(2);

/// What [`Pipeline::reconfigure`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Outputs that are as they were.
    pub kept: usize,
    /// Names of those that go on in another way.
    pub replaced: Vec<String>,
    /// Names of those that are new.
    pub opened: Vec<String>,
    /// Those that are no more, and what became of their events.
    pub closed: Vec<SinkCounters>,
}

/// Where the sink of a blueprint comes from. The numbers are those of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It runs.
    Kept(usize),
    /// It takes the place of one that runs.
    Replaces(usize),
    /// It is opened beside those that run.
    New,
}

impl Pipeline {
    /// Goes on with other outputs. Those that are as they were are not touched. One in whose place another stands now, such
    /// as a file whose format changed, is written to its end where its destination takes that; what it does not take waits for
    /// the other. The rest are opened, or written to their end and closed.
    ///
    /// # Errors
    /// If one cannot be opened: then the outputs are those of before. One that had ended for it is opened again, and tried
    /// again until it is.
    pub fn reconfigure(&mut self, configs: &[OutputConfig], node: &str) -> Result<Reconfigured, OutputError> {
        let wanted = blueprints(configs, node)?;
        let origins = self.origins(&wanted);
        let new = wanted.iter().zip(&origins).filter(|(_, origin)| **origin == Origin::New);
        // First what fails without a trace.
        let opened = open_all(new.map(|(blueprint, _)| blueprint.clone()).collect())?;
        let mut done = Reconfigured::default();
        let mut before = Vec::new();
        let mut left_out = Vec::new();
        for (blueprint, origin) in wanted.iter().zip(&origins) {
            let Origin::Replaces(index) = *origin else { continue };
            let lane = &mut self.lanes[index];
            before.push((index, lane.blueprint.clone()));
            match lane.replace(blueprint, &self.shared) {
                Ok(true) => done.replaced.push(blueprint.name.clone()),
                Ok(false) => left_out.push(index),
                Err(error) => {
                    close_unused(opened);
                    self.restore(before);
                    return Err(error);
                }
            }
        }
        let (opened, failed): (Vec<_>, Vec<_>) =
            opened.into_iter().map(|opened| Lane::start(opened, &self.shared)).partition(Result::is_ok);
        let opened: Vec<Lane> = opened.into_iter().flatten().collect();
        if let Some(error) = failed.into_iter().find_map(Result::err) {
            end(opened);
            self.restore(before);
            return Err(error);
        }
        done.opened = opened.iter().map(|lane| lane.name().to_owned()).collect();
        self.settle(&origins, &left_out, opened, &mut done);
        Ok(done)
    }

    fn origins(&self, wanted: &[Blueprint]) -> Vec<Origin> {
        let mut free = vec![true; self.lanes.len()];
        let mut find = |fits: &dyn Fn(&Blueprint) -> bool| {
            let index = self.lanes.iter().zip(&free).position(|(lane, free)| *free && fits(&lane.blueprint))?;
            free[index] = false;
            Some(index)
        };
        let kept: Vec<_> = wanted.iter().map(|blueprint| find(&|lane| lane == blueprint)).collect();
        let origin = |(blueprint, kept): (&Blueprint, Option<usize>)| match kept {
            Some(index) => Origin::Kept(index),
            None => find(&|lane| lane.place() == blueprint.place()).map_or(Origin::New, Origin::Replaces),
        };
        wanted.iter().zip(kept).map(origin).collect()
    }

    /// The outputs of before again.
    fn restore(&mut self, before: Vec<(usize, Blueprint)>) {
        for (index, blueprint) in before {
            self.lanes[index].restore(blueprint, &self.shared);
        }
    }

    /// Nothing can fail any more: lanes in the order of the configuration, and those that nobody wants end.
    fn settle(&mut self, origins: &[Origin], left_out: &[usize], opened: Vec<Lane>, done: &mut Reconfigured) {
        let mut old: Vec<_> = std::mem::take(&mut self.lanes).into_iter().map(Some).collect();
        let mut opened = opened.into_iter();
        for origin in origins {
            match *origin {
                Origin::New => self.lanes.extend(opened.next()),
                Origin::Replaces(index) if left_out.contains(&index) => {}
                Origin::Replaces(index) => self.lanes.extend(old[index].take()),
                Origin::Kept(index) => {
                    done.kept += 1;
                    if let Some(lane) = &old[index] {
                        lane.queue.report_reread();
                    }
                    self.lanes.extend(old[index].take());
                }
            }
        }
        done.closed = end(old.into_iter().flatten().collect());
    }
}

/// Writes what waits, and closes.
fn end(lanes: Vec<Lane>) -> Vec<SinkCounters> {
    let deadline = Instant::now() + CHANGE_PATIENCE;
    lanes.iter().for_each(|lane| lane.queue.close(deadline));
    let ended = lanes.into_iter().map(|lane| {
        if lane.thread.is_finished() {
            // Of a plugin that was left out: nobody takes what waits.
            lane.meter.lose(Cause::Shutdown, lane.queue.discard());
        }
        lane.join(deadline + super::GRACE)
    });
    ended.collect()
}

impl Lane {
    /// Another sink for what waits. Returns whether it runs: not a plugin that cannot be started.
    fn replace(&mut self, blueprint: &Blueprint, shared: &Shared) -> Result<bool, OutputError> {
        let seat = self.vacate(blueprint, shared);
        let Some(sink) = blueprint.open(&self.meter)? else {
            if self.thread.is_finished() {
                seat.leave();
            }
            return Ok(false);
        };
        self.thread = spawn(&blueprint.name, move || Worker::new(seat, sink).run())?;
        self.blueprint = blueprint.clone();
        Ok(true)
    }

    /// The sink of before for what waits. It was open, so nobody waits for it to be open again.
    fn restore(&mut self, blueprint: Blueprint, shared: &Shared) {
        let seat = self.vacate(&blueprint, shared);
        let meter = Arc::clone(&self.meter);
        self.blueprint = blueprint.clone();
        let name = blueprint.name.clone();
        match spawn(&name, move || seat.open_and_run(|| blueprint.open(&meter))) {
            Ok(thread) => self.thread = thread,
            Err(error) => tracing::error!("{error}; its records wait for the next reload"),
        }
    }

    /// Has the worker write what waits, where its destination takes it, and ends it. Makes the seat of the next.
    fn vacate(&self, blueprint: &Blueprint, shared: &Shared) -> Seat {
        let now = self.meter.snapshot(self.name());
        if !now.stalled && !now.suspended {
            let ticket = self.queue.request_flush();
            self.queue.wait_flushed(ticket, Instant::now() + CHANGE_PATIENCE);
        }
        if !self.queue.release(Instant::now() + CHANGE_PATIENCE) {
            tracing::error!(output = self.name(), "this output does not end and was left behind");
        }
        let number = self.queue.take_over(blueprint.config.limits());
        Seat::new(blueprint, shared, &self.queue, &self.meter, number)
    }
}

#[cfg(test)]
#[path = "reconfigure_tests.rs"]
mod tests;
