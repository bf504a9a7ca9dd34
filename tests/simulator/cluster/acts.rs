//! What clients do: connect, ask, break off, and go on over another line.

use warren_core::message::Message;
use warren_core::peer::PeerAddress;
use warren_core::shard::Shard;
use warren_core::turn::ConnectionTraits;

use super::Cluster;
use crate::auditor::View;
use crate::clients::Step;
use crate::tasks::{done, give_up};
use crate::workload::Draft;

/// How much time passes at once while tasks are waited for.
const TASK_STEP_NS: u64 = 1_000_000_000;

/// After so many of these somebody says again that it works: it may have been refused.
const WORKER_STEPS: u64 = 20;

/// Where a client is: two share each address.
fn peer_of(client: usize) -> PeerAddress {
    PeerAddress::of([192, 0, 2, (client / 2) as u8].into())
}

impl Cluster {
    /// The client's line, if it has one that neither side has closed.
    pub(super) fn open_line(&self, client: usize) -> Option<usize> {
        self.current[client].filter(|line| self.clients.is_open(*line))
    }

    /// The conversation of the client's latest line, if it was cut and could go on.
    fn cut_conversation(&self, client: usize) -> Option<usize> {
        let conversation = self.clients.lines[self.current[client]?].conversation;
        self.auditor.is_cut(conversation).then_some(conversation)
    }

    /// A client connects, goes on, closes, or sends some requests at once.
    pub(super) fn act(&mut self, client: usize) {
        let Some(line) = self.open_line(client) else {
            match self.cut_conversation(client) {
                Some(conversation) => self.go_on_or_not(client, conversation, 90),
                None => self.connect(client),
            }
            return;
        };
        let conversation = self.clients.lines[line].conversation;
        if self.auditor.views[conversation].is_over {
            // It was refused to go on.
            self.clients.close(line);
        } else if self.prng.chance(self.plan.close_percent) {
            self.cut(line);
        } else if self.auditor.wants_resume(conversation) {
            self.resume(line);
        } else if !self.auditor.is_resuming(conversation) || self.prng.chance(2) {
            for _ in 0..self.prng.between(1, self.plan.pipeline_max) {
                self.send(line);
            }
        }
    }

    fn draw_line(&mut self) -> (usize, ConnectionTraits) {
        let shard = self.prng.index(self.shards.len());
        let traits = ConnectionTraits {
            echoes_request: self.prng.chance(40),
            closes_on_unknown_method: self.prng.chance(20),
            has_moved: false,
        };
        (shard, traits)
    }

    fn connect(&mut self, client: usize) {
        let (shard, traits) = self.draw_line();
        let line = self.clients.lines.len();
        let conversation = self.auditor.open(line, shard, traits);
        self.clients.open((shard, traits), peer_of(client), conversation);
        self.current[client] = Some(line);
        self.trace.line(format_args!("    client {conversation} connects to shard {shard}"));
    }

    /// A client whose conversation was cut goes on with it over a new line, or gives it up.
    pub(super) fn go_on_or_not(&mut self, client: usize, conversation: usize, percent: u64) {
        if !self.prng.chance(percent) {
            self.trace.line(format_args!("    client {conversation} gives up"));
            self.auditor.end(conversation);
            return;
        }
        let (shard, traits) = self.draw_line();
        let line = self.clients.open((shard, traits), peer_of(client), conversation);
        self.current[client] = Some(line);
        self.trace.line(format_args!("    client {conversation} is back at shard {shard}"));
        self.auditor.reconnected(conversation, line, shard, traits);
        self.resume(line);
        if self.prng.chance(10) {
            // Somebody who is in a hurry asks twice at once: this line is given up already.
            let is_silent = self.prng.chance(50);
            self.clients.cut(line, usize::MAX, is_silent);
            self.auditor.cut(conversation);
        }
    }

    /// Sends `resume`.
    fn resume(&mut self, line: usize) {
        let conversation = self.clients.lines[line].conversation;
        self.last_id += 1;
        let is_count_right = !self.prng.chance(4);
        let bytes = self.auditor.draft_resume(conversation, self.last_id, is_count_right);
        self.ask(line, Draft { bytes, is_malformed: false });
    }

    /// A line breaks: some of what was sent arrives, and the shard may not notice for long.
    pub(super) fn cut(&mut self, line: usize) {
        let conversation = self.clients.lines[line].conversation;
        let waiting = self.clients.lines[line].outbox.len();
        let is_abrupt = self.prng.chance(50);
        let arriving_max = if is_abrupt { self.prng.index(waiting + 1) } else { waiting };
        let is_silent = self.plan.limits.session_grace_ns > 0 && self.prng.chance(25);
        self.trace.line(format_args!(
            "    client {conversation} is cut: {arriving_max} of {waiting} arrive, silent: {is_silent}"
        ));
        self.clients.cut(line, arriving_max, is_silent);
        self.auditor.cut(conversation);
    }

    /// A client closes, and is not seen again.
    pub(super) fn close(&mut self, line: usize) {
        let conversation = self.clients.lines[line].conversation;
        self.trace.line(format_args!("    client {conversation} closes"));
        self.clients.close(line);
        self.auditor.end(conversation);
    }

    fn send(&mut self, line: usize) {
        let conversation = self.clients.lines[line].conversation;
        // A client that hears nothing stops asking.
        let is_deaf = self.clients.lines[line].outbox.len() > 40;
        if is_deaf || self.auditor.is_patient(conversation) {
            return;
        }
        self.last_id += 1;
        if self.plan.limits.session_grace_ns > 0
            && self.prng.chance(3)
            && let Some(bytes) = self.auditor.draft_theft(self.last_id, &mut self.prng)
        {
            self.ask(line, Draft { bytes, is_malformed: true });
            return;
        }
        let view = &self.auditor.views[conversation];
        let oracle = &self.auditor.oracle;
        let draft = match self.toil.draft(self.last_id, view, oracle) {
            Some(bytes) => Draft { bytes, is_malformed: false },
            None => self.workload.draft(self.last_id, view, oracle),
        };
        // Who asks to go on does not ask for another session before it is refused.
        let is_login = Message::from_checked(&draft.bytes).method() == "login";
        if is_login && self.auditor.is_resuming(conversation) {
            return;
        }
        self.ask(line, draft);
    }

    fn ask(&mut self, line: usize, draft: Draft) {
        let conversation = self.clients.lines[line].conversation;
        let message = Message::from_checked(&draft.bytes);
        self.trace.line(format_args!("    client {conversation} > {message:?}"));
        self.auditor.sent(conversation, self.last_id, &draft);
        self.clients.lines[line].outbox.push_back(Step::Message(draft.bytes));
    }

    /// Clients that went on in this turn say again what has no reply.
    pub(super) fn say_again(&mut self) {
        for conversation in std::mem::take(&mut self.auditor.resumed_now) {
            let Some(line) = self.auditor.line_of(conversation) else { continue };
            for bytes in self.auditor.take_resent(conversation, &mut self.prng) {
                let message = Message::from_checked(&bytes);
                self.trace.line(format_args!("    client {conversation} > {message:?} again"));
                self.clients.lines[line].outbox.push_back(Step::Message(bytes));
            }
        }
    }

    /// Clients do what tasks are left, and time passes until none is. Says whether there was anything to do.
    pub(super) fn finish_tasks(&mut self) -> bool {
        let counters = self.shards.iter().map(|shard| shard.shard().counters());
        let left: u64 = counters.map(|shard| shard.tasks_waiting + shard.tasks_out).sum();
        if left == 0 {
            return false;
        }
        let here: Vec<usize> = (0..self.plan.client_count)
            .filter_map(|client| self.open_line(client))
            .filter(|line| self.conversation(*line).user().is_some())
            .collect();
        self.late_steps += 1;
        let mut has_said = false;
        for line in &here {
            let lease = self.conversation(*line).leases.first().cloned();
            if let Some(lease) = lease {
                self.last_id += 1;
                // What cannot be done, since its partition is full, is given up.
                let bytes = match self.late_steps % 4 {
                    0 => give_up(self.last_id, &lease),
                    _ => done(self.last_id, &lease, self.conversation(*line)),
                };
                self.ask(*line, Draft { bytes, is_malformed: false });
                has_said = true;
            }
        }
        if has_said {
            return true;
        }
        let is_worker_due = self.late_steps % WORKER_STEPS == 1;
        if let Some(line) = here.first().filter(|_| is_worker_due) {
            self.last_id += 1;
            let bytes = self.toil.work(self.last_id, 4);
            self.ask(*line, Draft { bytes, is_malformed: false });
            return true;
        }
        self.clock.advance_ns(TASK_STEP_NS);
        !here.is_empty()
    }

    fn conversation(&self, line: usize) -> &View {
        &self.auditor.views[self.clients.lines[line].conversation]
    }

    /// Every client that was cut goes on or gives up; and then the grace time of those passes who
    /// gave up. Says whether there was anything to do.
    pub(super) fn settle(&mut self) -> bool {
        let mut is_settled = true;
        for client in 0..self.plan.client_count {
            if let Some(line) = self.open_line(client) {
                let conversation = self.clients.lines[line].conversation;
                if self.auditor.views[conversation].is_over {
                    // It was refused to go on, and may have logged in behind that.
                    self.clients.close(line);
                    is_settled = false;
                } else if self.auditor.wants_resume(conversation) {
                    self.resume(line);
                    is_settled = false;
                }
            } else if let Some(conversation) = self.cut_conversation(client) {
                self.go_on_or_not(client, conversation, 75);
                is_settled = false;
            }
        }
        self.clients.end_silence();
        let shards = || self.shards.iter().map(|shard| shard.shard());
        if is_settled && shards().any(|shard: &Shard| shard.counters().sessions_detached > 0) {
            self.clock.advance_ns(self.plan.limits.session_grace_ns);
            is_settled = false;
        }
        !is_settled
    }
}
