//! What becomes due: heartbeats, silence, the ends of those that leave or wait for an answer.

use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::reason::Reason;
use warren_core::turn::Now;

use super::{NS_PER_MS, Reactor};
use crate::connection::{NEVER, Phase};
use crate::egress::Lane;
use crate::gateway::Protocol;
use crate::heartbeat::SLOT_NS;

/// Deadlines that a turn takes: so many if they are heartbeats. Who came together is due together, and
/// holds up nobody else.
pub(super) const EXPIRED_PER_TURN_MAX: usize = 64;
/// Heartbeats in whose place a turn takes another deadline: whose receiving goes on, or who leaves, takes
/// the kernel that much longer.
const HEARTBEATS_PER_OTHER: usize = 8;

impl Reactor {
    pub(super) fn expire_deadlines(&mut self, now: Now) {
        if self.accept_retry_ns.is_some_and(|at| at <= now.monotonic_ns) {
            self.accept_retry_ns = None;
            self.accept();
        }
        let mut due = std::mem::take(&mut self.due);
        let mut left = EXPIRED_PER_TURN_MAX;
        while left > 0 {
            self.wheel.expire(now.monotonic_ns, left.min(HEARTBEATS_PER_OTHER), &mut due);
            if due.is_empty() {
                break;
            }
            for index in due.drain(..) {
                let beats = self.expire(index, now);
                left = left.saturating_sub(if beats { 1 } else { HEARTBEATS_PER_OTHER });
            }
        }
        self.due = due;
    }

    /// Takes a deadline that has come up. Returns whether that was no more than a heartbeat.
    fn expire(&mut self, index: u32, now: Now) -> bool {
        match self.connections[index as usize].phase {
            Phase::Proxied | Phase::Undetected | Phase::Open(_) => {
                return self.deadline_reached(index, now);
            }
            Phase::Ended(_) => self.close(index, Reason::PeerClosed),
            // It cannot go before its output has left.
            Phase::Moving(_) => self.close(index, Reason::SlowConsumer),
            Phase::Draining | Phase::Lingering => self.start_closing(index),
            Phase::Free | Phase::Leaving | Phase::Closing => {}
        }
        false
    }

    /// Accepting failed for a reason that nothing of ours will mend: tries again in a while.
    pub(super) fn accept_later(&mut self, now: Now) {
        self.accept_retry_ns = Some(now.monotonic_ns.saturating_add(SLOT_NS));
    }

    /// The earliest of a connection's deadlines is there, unless it was moved since. Returns whether
    /// the connection stays as it is.
    fn deadline_reached(&mut self, index: u32, now: Now) -> bool {
        let now_ns = now.monotonic_ns;
        let frame_ns = Self::deadline_after_ms(now, self.settings.frame_ms);
        let connection = &mut self.connections[index as usize];
        if connection.login_due_ns <= now_ns {
            self.close(index, Reason::LoginTimeout);
            return false;
        }
        if connection.frame_due_ns <= now_ns {
            if !connection.is_waited_for() {
                self.close(index, Reason::FrameTimeout);
                return false;
            }
            connection.frame_due_ns = frame_ns;
        }
        let resumes = connection.resume_ns <= now_ns;
        if resumes {
            self.resume(index, now);
        }
        let connection = &self.connections[index as usize];
        if connection.heartbeat_ns <= now_ns {
            match connection.phase {
                Phase::Open(protocol) if protocol.is_kept_alive_by_client() => {
                    self.check_silence(index, now);
                }
                Phase::Open(protocol) => self.send_heartbeat(index, protocol, now),
                _ => {}
            }
        }
        let connection = &self.connections[index as usize];
        let stays = connection.is_alive();
        if stays {
            self.wheel.schedule(index, connection.due_ns());
        }
        stays && !resumes
    }

    /// Takes the time of a frame, or a record of TLS, that has begun or is whole now.
    pub(super) fn time_frame(&mut self, index: u32, began: bool, now: Now) {
        let due_ns = Self::deadline_after_ms(now, self.settings.frame_ms);
        let connection = &mut self.connections[index as usize];
        let half_bytes = connection.partial_bytes() + connection.record_bytes();
        self.count_piece(index, half_bytes > 0 && !began, now);
        let connection = &mut self.connections[index as usize];
        if !matches!(connection.phase, Phase::Open(_)) || half_bytes == 0 {
            connection.frame_due_ns = NEVER;
        } else if began || connection.frame_due_ns == NEVER {
            connection.frame_due_ns = due_ns;
            self.wheel.advance(index, due_ns);
        }
    }

    fn check_silence(&mut self, index: u32, now: Now) {
        let allowed_ns = self.settings.heartbeat_ms.saturating_mul(2 * NS_PER_MS);
        let connection = &mut self.connections[index as usize];
        let heard_ns = if connection.is_paused() { now.monotonic_ns } else { connection.heard_ns };
        if now.monotonic_ns.saturating_sub(heard_ns) >= allowed_ns {
            self.close(index, Reason::Timeout);
        } else {
            connection.heartbeat_ns = heard_ns.saturating_add(allowed_ns);
        }
    }

    fn send_heartbeat(&mut self, index: u32, protocol: Protocol, now: Now) {
        let interval_ns = self.settings.heartbeat_ms.saturating_mul(NS_PER_MS).max(1);
        let connection = &mut self.connections[index as usize];
        // From the intended time, so that it does not drift; those missed in a long sleep are not
        // made up for.
        let late_ns = now.monotonic_ns.saturating_sub(connection.heartbeat_ns);
        let intervals = 1 + late_ns / interval_ns;
        connection.heartbeat_ns =
            connection.heartbeat_ns.saturating_add(intervals.saturating_mul(interval_ns));
        self.notice.clear();
        MessageBuilder::new(&mut self.notice, "pong").field("status", Value::Integer(0));
        let pong = Message::from_checked(&self.notice);
        let gateway = &self.settings.gateway;
        let bytes = self.egress.encoding(&mut self.pongs, protocol, gateway, std::iter::once(pong));
        self.push(index, Lane::Droppable, bytes);
    }
}
