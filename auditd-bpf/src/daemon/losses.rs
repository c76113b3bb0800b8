//! What was lost on the way, told in the stream and in the log.

use std::time::Instant;

use auditd_bpf_common::counters;
use output::event::{Body, Loss};

use super::Daemon;

impl Daemon {
    /// Events lost on the way to the outputs, by cause.
    pub(super) fn lost(&self) -> Vec<(&'static str, u64)> {
        let mut totals: Vec<(&'static str, u64)> = self.decoder.counters().losses().to_vec();
        match self.engine.counters() {
            Ok(all) => totals.extend(
                all.into_iter().filter(|row| counters::LOSSES.contains(&row.0)).map(|(_, name, count)| (name, count)),
            ),
            Err(error) => tracing::error!("cannot read the kernel's loss counters: {error}"),
        }
        totals.push(("call_end_not_seen", self.engine.left_out()));
        totals.extend(self.messages.as_ref().map(|messages| ("user_messages_full", messages.lost())));
        totals
    }

    /// Events lost on the way to the outputs and by the output that lost most.
    pub(super) fn lost_total(&self) -> u64 {
        let by_outputs = self.pipeline.counters().iter().map(output::SinkCounters::lost_total).max();
        self.lost().into_iter().map(|(_, count)| count).sum::<u64>() + by_outputs.unwrap_or(0)
    }

    pub(super) fn log_state(&self) {
        tracing::info!("{} rules, {} programs attached", self.store.rules().len(), self.engine.attached());
        for (_, name, count) in self.engine.counters().unwrap_or_default() {
            tracing::info!("{name}: {count}");
        }
        for sink in self.pipeline.counters() {
            tracing::info!(
                "{}: {} events written, {} waiting, {} lost",
                sink.sink,
                sink.written,
                sink.pending(),
                sink.lost_total()
            );
        }
    }

    pub(super) fn report_losses(&mut self) {
        self.losses_seen = Instant::now();
        let mut losses = Vec::new();
        for (cause, total) in self.lost() {
            let reported = self.reported.insert(cause, total).unwrap_or(0);
            if total > reported {
                losses.push(Loss { cause: cause.into(), count: total - reported });
            }
        }
        if !losses.is_empty() {
            for loss in &losses {
                tracing::error!("{} events lost: {}", loss.count, loss.cause);
            }
            self.push(Body::Lost(losses));
            self.write_will();
        }
    }
}
