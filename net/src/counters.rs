//! What a reactor counts. Plain numbers; the shard thread publishes them once a turn.

use warren_core::reason::Reason;

use crate::gateway::Protocol;

/// Totals since the start, except where marked as a gauge.
#[derive(Clone, Debug)]
pub struct NetCounters {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Submission queue entries handed to the kernel.
    pub submissions: u64,
    /// Completions taken.
    pub completions: u64,
    /// Receive completions that carried bytes.
    pub receives: u64,
    /// Sends submitted: at most one per connection and turn, but for turns with a large output.
    pub sends: u64,
    /// Sends that the socket did not take at once as a whole.
    pub sends_deferred: u64,
    /// Times the receive buffers ran out.
    pub receive_buffers_exhausted: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes handed to sends.
    pub sent_bytes: u64,
    /// Messages decoded.
    pub messages_in: u64,
    /// Encodings of messages: one per message and protocol in use, however many recipients.
    pub messages_encoded: u64,
    /// Connections accepted, those included that were told that there are too many.
    pub accepted: u64,
    /// Connections of which a proxy has said from where their clients come, or that they are its
    /// own.
    pub proxied: u64,
    /// Connections turned away because there were as many as there may be.
    pub accept_table_full: u64,
    /// Connections that went to other shards.
    pub connections_moved_out: u64,
    /// Connections that came from other shards, those included that were told that there are too
    /// many.
    pub connections_moved_in: u64,
    /// Frames refused by reason, indexed by `Reason as usize`.
    pub refusals: [u64; Reason::ALL.len()],
    /// Connections closed by reason, indexed by `Reason as usize`.
    pub closes: [u64; Reason::ALL.len()],
    /// Gauge: open connections by protocol, indexed by `Protocol as usize`.
    pub connections: [u64; Protocol::ALL.len()],
    /// Gauge: connections whose protocol is not known yet.
    pub connections_undetected: u64,
    /// Gauge: connections whose clients have not logged in.
    pub connections_unauthenticated: u64,
    /// Gauge: connections in TLS.
    pub tls_connections: u64,
    /// Gauge: received bytes of handshakes that wait for their turn.
    pub tls_waiting_bytes: u64,
    /// Gauge: bytes of half-received records of TLS.
    pub tls_record_bytes: u64,
    /// Gauge: connections from which nothing is received for a while: too many bytes came, or a login in too many pieces.
    pub connections_paused: u64,
    /// Times that receiving paused.
    pub receive_pauses: u64,
    /// Messages that were not sent because a half of the send queue was full.
    pub droppable_dropped: u64,
    /// Frames of worlds left out because what was sent before had not left.
    pub frames_dropped: u64,
    /// Gauge: bytes that wait in send queues.
    pub send_queue_bytes: u64,
    /// Gauge: bytes of half-received frames.
    pub partial_frame_bytes: u64,
    /// Most bytes of output that were ever copied together at a time.
    pub gathered_bytes_peak: u64,
}

impl Default for NetCounters {
    fn default() -> Self {
        Self {
            enters: 0,
            submissions: 0,
            completions: 0,
            receives: 0,
            sends: 0,
            sends_deferred: 0,
            receive_buffers_exhausted: 0,
            received_bytes: 0,
            sent_bytes: 0,
            messages_in: 0,
            messages_encoded: 0,
            accepted: 0,
            proxied: 0,
            accept_table_full: 0,
            connections_moved_out: 0,
            connections_moved_in: 0,
            refusals: [0; Reason::ALL.len()],
            closes: [0; Reason::ALL.len()],
            connections: [0; Protocol::ALL.len()],
            connections_undetected: 0,
            connections_unauthenticated: 0,
            tls_connections: 0,
            tls_waiting_bytes: 0,
            tls_record_bytes: 0,
            connections_paused: 0,
            receive_pauses: 0,
            droppable_dropped: 0,
            frames_dropped: 0,
            send_queue_bytes: 0,
            partial_frame_bytes: 0,
            gathered_bytes_peak: 0,
        }
    }
}
