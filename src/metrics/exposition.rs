//! The text of `/metrics`: OpenMetrics, base units, every series by shard.

use core::fmt;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use warren_core::reason::Reason;
use warren_net::gateway::Protocol;
use warren_plugins::{Library, PluginRow};
use warren_storage::log_executor::LogProgress;

use crate::snapshots::SnapshotProgress;

use super::{DURATION_BUCKETS, DurationHistogram, ServerState, ShardMetrics, TurnReport};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The protocol label of connections whose protocol is not known yet.
const UNDETECTED: &str = "undetected";

/// A number of each shard, without further labels.
pub(super) struct Scalar {
    pub(super) name: &'static str,
    help: &'static str,
    kind: MetricType,
    pub(super) read: fn(&TurnReport<'_>) -> u64,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&TurnReport<'_>) -> u64,
) -> Scalar {
    Scalar { name, help, kind: MetricType::Counter, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&TurnReport<'_>) -> u64) -> Scalar {
    Scalar { name, help, kind: MetricType::Gauge, read }
}

/// Every such number: a row is all that a new one takes.
pub(super) const SCALARS: &[Scalar] = &[
    counter("events", "Events handled", |turn| turn.shard.events),
    counter("room_messages", "Room messages numbered", |turn| turn.shard.room_messages),
    counter("room_messages_gathered", "Room messages that waited for others", |turn| {
        turn.shard.room_messages_gathered
    }),
    counter("deliveries", "Copies of messages handed to connections", |turn| turn.shard.deliveries),
    gauge("worlds", "Worlds that are awake, whose home is on this shard", |turn| turn.shard.worlds),
    gauge("worlds_slowed", "Worlds whose tick rate is halved", |turn| turn.shard.worlds_slowed),
    gauge("world_entities", "Entities in worlds", |turn| turn.shard.world_entities),
    gauge("npcs", "NPCs in worlds", |turn| turn.shard.npcs),
    counter("npc_updates", "Times that an NPC was moved", |turn| turn.shard.npc_updates),
    counter("npc_carried_over", "Times that an NPC was not moved before the tick", |turn| {
        turn.shard.npc_carried_over
    }),
    counter(
        "npc_updates_unmoved",
        "Times that an NPC stood, since nobody has its behaviour",
        |turn| turn.shard.npc_updates_unmoved,
    ),
    counter("npc_thinks_asked", "Times that a worker was asked where NPCs go", |turn| {
        turn.shard.npc_thinks_asked
    }),
    counter(
        "npc_thinks_lost",
        "Those that were not answered in time, or not waited for any more",
        |turn| turn.shard.npc_thinks_lost,
    ),
    counter("npc_thinks_failed", "Those that a worker could not answer", |turn| {
        turn.shard.npc_thinks_failed
    }),
    counter("npc_moves_invalid", "Moves of NPCs to where nobody can be", |turn| {
        turn.shard.npc_moves_invalid
    }),
    counter(
        "npc_fields_invalid",
        "Worlds woken without NPCs, which their record says wrongly",
        |turn| turn.shard.npc_fields_invalid,
    ),
    counter("world_moves", "Moves taken by worlds", |turn| turn.shard.world_moves),
    counter("world_ticks", "Ticks of worlds", |turn| turn.shard.world_ticks),
    counter("world_ticks_late", "Ticks run late by more than half of their period", |turn| {
        turn.shard.world_ticks_late
    }),
    counter("world_ticks_skipped", "Ticks not run because the shard was late", |turn| {
        turn.shard.world_ticks_skipped
    }),
    counter("world_frames", "Frames handed to connections", |turn| turn.shard.world_frames),
    counter("world_frames_missed", "Frames not handed to slow or detached members", |turn| {
        turn.shard.world_frames_missed
    }),
    counter("world_frames_lost", "Ticks that did not reach a shard on a full way", |turn| {
        turn.shard.world_frames_lost
    }),
    counter("world_members_stalled", "Members closed for taking no frames", |turn| {
        turn.shard.world_members_stalled
    }),
    counter("delta_batches", "Delta batches made", |turn| turn.shard.delta_batches),
    gauge("delta_batches_waiting", "Delta batches that are not durable yet", |turn| {
        turn.shard.delta_batches_waiting
    }),
    gauge("log_waiting", "Replies and notices that wait until they are durable", |turn| {
        turn.shard.log_waiting
    }),
    gauge("log_waiting_bytes", "Bytes in memory of these", |turn| turn.shard.log_waiting_bytes),
    gauge("log_failed", "1 while the log takes nothing", |turn| turn.shard.log_failed),
    gauge("logins_waiting", "Logins that wait for a turn that may check their tickets", |turn| {
        turn.shard.logins_waiting
    }),
    gauge("sessions", "Sessions, detached ones among them", |turn| turn.shard.sessions),
    gauge("sessions_detached", "Sessions that wait to be resumed", |turn| {
        turn.shard.sessions_detached
    }),
    counter("sessions_evicted", "Detached sessions ended because there were too many", |turn| {
        turn.shard.detached_sessions_evicted
    }),
    counter("resumes", "Sessions resumed", |turn| turn.shard.resumes),
    counter("messages_replayed", "Messages told again to sessions that were resumed", |turn| {
        turn.shard.messages_replayed
    }),
    counter(
        "messages_unkept",
        "Messages told and not kept, beyond their session's share",
        |turn| turn.shard.messages_unkept,
    ),
    counter("requests_repeated", "Requests that came again and were not run again", |turn| {
        turn.shard.requests_repeated
    }),
    gauge("addresses", "Addresses and accounts whose connections or logins are counted", |turn| {
        turn.shard.addresses
    }),
    counter("addresses_evicted", "Addresses and accounts forgotten because of others", |turn| {
        turn.shard.addresses_evicted
    }),
    gauge("replay_log_bytes", "Bytes in memory of the messages kept for sessions", |turn| {
        turn.shard.replay_log_bytes
    }),
    gauge("replay_link_bytes", "Bytes in memory of who heard which of them", |turn| {
        turn.shard.replay_link_bytes
    }),
    gauge("rooms", "Rooms whose home is on this shard", |turn| turn.shard.rooms),
    gauge("objects", "Objects, rooms among them", |turn| turn.shard.objects),
    gauge("state_bytes", "Bytes in memory of the objects", |turn| turn.shard.state_bytes),
    gauge("watches", "Watches of objects", |turn| turn.shard.watches),
    counter("object_notices", "Changes of objects that rooms heard", |turn| {
        turn.shard.object_notices
    }),
    counter("object_notices_unheard", "Changes by who is not in the object's room", |turn| {
        turn.shard.object_notices_unheard
    }),
    counter(
        "object_notices_dropped",
        "Changes not told to rooms: a queue was full, or it was too much at once",
        |turn| turn.shard.object_notices_dropped,
    ),
    gauge("tasks_waiting", "Tasks that wait for a worker", |turn| turn.shard.tasks_waiting),
    gauge("tasks_leased", "Tasks that workers have", |turn| turn.shard.tasks_out),
    gauge("tasks_dead", "Tasks that nobody could do: they wait for the operator", |turn| {
        turn.shard.tasks_dead
    }),
    gauge("task_workers", "Sessions that take tasks of this shard", |turn| turn.shard.task_workers),
    counter("tasks_taken", "Requests that became tasks", |turn| turn.shard.tasks_taken),
    counter("task_leases", "Times that a worker got a task", |turn| turn.shard.tasks_leased),
    counter("tasks_done", "Tasks that were done", |turn| turn.shard.tasks_done),
    counter("task_failures", "Attempts that workers gave up", |turn| turn.shard.tasks_failed),
    counter("task_leases_lost", "Leases that ended before their tasks were done", |turn| {
        turn.shard.tasks_lost
    }),
    counter(
        "events_late",
        "Scheduled events that a worker got more than a second after their time",
        |turn| turn.shard.events_late,
    ),
    counter(
        "events_refused",
        "Scheduled events that tasks of other partitions asked for, and that could not be made",
        |turn| turn.shard.events_refused,
    ),
    counter("tasks_expired", "Tasks that no worker took in time", |turn| turn.shard.tasks_expired),
    counter("tasks_died", "Tasks that were given up after their last attempt", |turn| {
        turn.shard.tasks_dead_total
    }),
    counter(
        "tasks_dead_dropped",
        "Dead tasks that went because a partition had too many",
        |turn| turn.shard.tasks_dead_dropped,
    ),
    gauge("queued_events", "Events that wait in partition queues", |turn| turn.shard.queued_events),
    gauge("changed_objects", "Objects that changed and wait to be stored", |turn| {
        turn.shard.changed_objects
    }),
    gauge("snapshots_waiting", "Batches of the snapshot that wait for the log", |turn| {
        turn.shard.snapshots_waiting
    }),
    gauge("held_inputs", "Received buffers held back while other shards are behind", |turn| {
        turn.turn.inputs_held
    }),
    counter("mesh_messages_sent", "Messages for other shards", |turn| turn.shard.mesh_messages_out),
    counter("mesh_messages_received", "Messages from other shards", |turn| {
        turn.shard.mesh_messages_in
    }),
    counter("mesh_batches_published", "Batches put on mesh rings", |turn| {
        turn.turn.mesh_batches_published
    }),
    gauge("mesh_staged_bytes", "Bytes that wait for shards whose rings are full", |turn| {
        turn.turn.mesh_staged_bytes
    }),
    counter("mesh_wakes", "Wake-ups sent to shards that slept", |turn| turn.turn.wakes_sent),
    counter("allocations", "Heap allocations of the shard thread", |turn| turn.turn.allocations),
    gauge("heap_bytes", "Heap bytes that the shard thread holds", |turn| turn.turn.heap_bytes),
    counter("ring_enters", "io_uring_enter calls", |turn| turn.net.enters),
    counter("ring_submissions", "Submission queue entries", |turn| turn.net.submissions),
    counter("ring_completions", "Completions taken", |turn| turn.net.completions),
    counter("receives", "Receive completions that carried bytes", |turn| turn.net.receives),
    counter("received_bytes", "Bytes received", |turn| turn.net.received_bytes),
    counter("receive_buffers_exhausted", "Times the receive buffers ran out", |turn| {
        turn.net.receive_buffers_exhausted
    }),
    counter("sends", "Sends submitted: at most one per connection and turn", |turn| turn.net.sends),
    counter("sends_deferred", "Sends that the socket did not take at once", |turn| {
        turn.net.sends_deferred
    }),
    counter("sent_bytes", "Bytes handed to sends", |turn| turn.net.sent_bytes),
    counter("messages_decoded", "Messages decoded", |turn| turn.net.messages_in),
    counter("messages_encoded", "Encodings: one per message and protocol in use", |turn| {
        turn.net.messages_encoded
    }),
    counter("accepted_connections", "Connections accepted", |turn| turn.net.accepted),
    counter("proxied_connections", "Connections whose proxies have said whose they are", |turn| {
        turn.net.proxied
    }),
    counter("accept_table_full", "Connections turned away because the table was full", |turn| {
        turn.net.accept_table_full
    }),
    counter("connections_moved_out", "Connections that went to other shards", |turn| {
        turn.net.connections_moved_out
    }),
    counter("connections_moved_in", "Connections that came from other shards", |turn| {
        turn.net.connections_moved_in
    }),
    gauge("unauthenticated_connections", "Connections whose clients have not logged in", |turn| {
        turn.net.connections_unauthenticated
    }),
    gauge("tls_connections", "Connections in TLS", |turn| turn.net.tls_connections),
    gauge("tls_record_bytes", "Bytes of half-received records of TLS", |turn| {
        turn.net.tls_record_bytes
    }),
    gauge("tls_waiting_bytes", "Bytes of handshakes that wait for their turn", |turn| {
        turn.net.tls_waiting_bytes
    }),
    gauge(
        "paused_connections",
        "Connections that are not read from: too many bytes, or pieces of a login",
        |turn| turn.net.connections_paused,
    ),
    counter("receive_pauses", "Times that receiving paused", |turn| turn.net.receive_pauses),
    counter("droppable_dropped", "Droppable messages that a slow client did not get", |turn| {
        turn.net.droppable_dropped
    }),
    counter("frames_dropped", "Frames of worlds left out for slow connections", |turn| {
        turn.net.frames_dropped
    }),
    gauge("send_queue_bytes", "Bytes that wait in send queues", |turn| turn.net.send_queue_bytes),
    gauge("partial_frame_bytes", "Bytes of half-received frames", |turn| {
        turn.net.partial_frame_bytes
    }),
];

/// The text for `/metrics`.
pub(crate) fn text(state: &Arc<ServerState>, plugins: Vec<PluginRow>) -> String {
    let mut registry = Registry::with_prefix("warren");
    registry.register(
        "build",
        "The program that runs",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.register_collector(Box::new(StateCollector(Arc::clone(state))));
    registry.register_collector(Box::new(PluginCollector(plugins)));
    let mut text = String::new();
    // Writing to a string fails only when a value cannot show itself; numbers and words can.
    encode(&mut text, &registry).expect("metrics are numbers and words");
    text
}

#[derive(Debug)]
struct StateCollector(Arc<ServerState>);

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shards = &self.0.shards;
        encode_durations(&mut encoder, shards)?;
        for (index, scalar) in SCALARS.iter().enumerate() {
            let mut family =
                encoder.encode_descriptor(scalar.name, scalar.help, None, scalar.kind)?;
            for (number, shard) in shards.iter().enumerate() {
                let labels = [("shard", number)];
                let value = shard.scalars[index].load(Relaxed);
                encode_number(family.encode_family(&labels)?, scalar.kind, value)?;
            }
        }
        encode_by_reason(&mut encoder, shards, "refusals", "Requests refused", |shard| {
            &shard.refusals
        })?;
        encode_by_reason(&mut encoder, shards, "closes", "Connections closed", |shard| {
            &shard.closes
        })?;
        encode_connections(&mut encoder, shards)?;
        encode_snapshots(&mut encoder, &self.0.snapshots)?;
        encode_log(&mut encoder, &self.0.log)?;
        encode_export(&mut encoder, &self.0)?;
        encode_workers(&mut encoder, &self.0)?;
        encode_admin(&mut encoder, &self.0)
    }
}

#[derive(Debug)]
struct PluginCollector(Vec<PluginRow>);

impl Collector for PluginCollector {
    /// By plugin, whatever its versions.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&PluginRow) -> u64;
        let numbers: [(&str, &str, MetricType, Read); 5] = [
            ("plugin_calls", "Calls of plugins' methods", MetricType::Counter, |row| {
                row.counters.calls()
            }),
            ("plugin_failures", "Calls of plugins that failed", MetricType::Counter, |row| {
                row.counters.failures()
            }),
            ("plugin_thinks", "Calls of plugins' behaviours", MetricType::Counter, |row| {
                row.counters.thinks()
            }),
            (
                "plugin_strikes",
                "Calls of plugins that took longer than they may",
                MetricType::Counter,
                |row| row.counters.strikes(),
            ),
            (
                "plugin_disabled",
                "1 while a plugin is called no more, since it was too slow",
                MetricType::Gauge,
                |row| u64::from(row.is_disabled),
            ),
        ];
        for (name, help, kind, read) in numbers {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for row in &self.0 {
                let labels = [("plugin", &*row.name)];
                encode_number(family.encode_family(&labels)?, kind, read(row))?;
            }
        }
        let times: [(&str, &str, Read); 2] = [
            ("plugin_call_seconds", "Time in calls of plugins", |row| row.counters.busy_ns()),
            ("plugin_think_seconds", "Time in calls of plugins' behaviours", |row| {
                row.counters.think_ns()
            }),
        ];
        for (name, help, read) in times {
            let counter = MetricType::Counter;
            let mut family = encoder.encode_descriptor(name, help, None, counter)?;
            for row in &self.0 {
                let seconds = read(row) as f64 / 1e9;
                let labels = [("plugin", &*row.name)];
                let mut metric = family.encode_family(&labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
            }
        }
        let help = "Libraries that were loaded, each for as long as the process lives";
        let metric =
            encoder.encode_descriptor("plugin_libraries", help, None, MetricType::Gauge)?;
        encode_number(metric, MetricType::Gauge, Library::loads() as u64)
    }
}

/// The exporter's numbers, where there is one.
fn encode_export(
    encoder: &mut DescriptorEncoder<'_>,
    state: &ServerState,
) -> Result<(), fmt::Error> {
    let export = &state.export;
    if !export.is_configured.load(Relaxed) {
        return Ok(());
    }
    for (name, help, count) in [
        ("export_commits", "Commits that were exported", &export.commits),
        ("export_rows", "Objects that were exported, each once a round", &export.rows),
        ("export_failures", "Rounds of the exporter that failed", &export.failures),
        ("export_gaps", "Objects that did not go on from the tables", &export.gaps),
        ("export_full_copies", "Times that all objects were copied", &export.full_copies),
        ("export_panics", "Times that the exporter's thread had to begin anew", &export.panics),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_number(metric, MetricType::Counter, count.load(Relaxed))?;
    }
    let durable = state.log.durable_commit();
    let help = "1 while the exporter brings to Postgres what there is";
    let metric = encoder.encode_descriptor("export_connected", help, None, MetricType::Gauge)?;
    encode_number(metric, MetricType::Gauge, u64::from(export.is_connected.load(Relaxed)))?;
    let lag_bytes = export.lag_bytes(durable, state.log.bytes.load(Relaxed));
    // Nobody knows what the tables have until they were reached.
    let lags = [
        (
            "export_lag_commits",
            "Commits on the disk and not in the tables",
            export.lag_commits(durable),
        ),
        ("export_lag_bytes", "Bytes of these commits", lag_bytes),
    ];
    for (name, help, value) in lags.into_iter().filter(|_| export.is_known.load(Relaxed)) {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        encode_number(metric, MetricType::Gauge, value)?;
    }
    let help = "How long the oldest of these commits has been known";
    let name = "export_lag_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&(export.lag_ns(state.monotonic_ns(), durable) as f64 / 1e9))
}

/// Of the workers that the server starts, by section.
fn encode_workers(
    encoder: &mut DescriptorEncoder<'_>,
    state: &ServerState,
) -> Result<(), fmt::Error> {
    let counts: Vec<(&str, [u64; 2])> =
        state.workers.get().into_iter().flat_map(|board| board.counts()).collect();
    if counts.is_empty() {
        return Ok(());
    }
    let restarts = "Times that the server started a worker again";
    let stuck = "Workers that the server has ended because they were stuck";
    for (index, (name, help)) in
        [("worker_restarts", restarts), ("worker_stuck", stuck)].into_iter().enumerate()
    {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (worker, counts) in &counts {
            let labels = [("worker", *worker)];
            let metric = family.encode_family(&labels)?;
            encode_number(metric, MetricType::Counter, counts[index])?;
        }
    }
    Ok(())
}

/// The admin endpoint's numbers.
fn encode_admin(
    encoder: &mut DescriptorEncoder<'_>,
    state: &ServerState,
) -> Result<(), fmt::Error> {
    let refused = "Requests that the admin endpoint has refused for want of a token";
    let cut = "Connections of the admin endpoint that were too old, or too many";
    for (name, help, count) in
        [("admin_refusals", refused, &state.admin_refusals), ("admin_cuts", cut, &state.admin_cuts)]
    {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_number(metric, MetricType::Counter, count.load(Relaxed))?;
    }
    Ok(())
}

/// The snapshot writer's numbers: one of each for all shards.
fn encode_snapshots(
    encoder: &mut DescriptorEncoder<'_>,
    snapshots: &SnapshotProgress,
) -> Result<(), fmt::Error> {
    for (name, help, count) in [
        ("snapshot_batches", "Batches of changed objects on the disk", &snapshots.batches),
        ("snapshot_objects", "Changed objects on the disk", &snapshots.objects),
        ("snapshot_record_bytes", "Bytes of objects on the disk", &snapshots.record_bytes),
        ("snapshot_failures", "Attempts to store that failed", &snapshots.failures),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_number(metric, MetricType::Counter, count.load(Relaxed))?;
    }
    let help = "When the last batch on the disk was taken, in seconds since 1970";
    let name = "snapshot_synced_timestamp_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&(snapshots.synced_ms.load(Relaxed) as f64 / 1e3))
}

/// The delta log's numbers: one of each for all shards.
fn encode_log(encoder: &mut DescriptorEncoder<'_>, log: &LogProgress) -> Result<(), fmt::Error> {
    for (name, help, count) in [
        ("log_commits", "Commits of the delta log on the disk", &log.commits),
        ("log_records", "Delta batches in them", &log.records),
        ("log_record_bytes", "Bytes of delta batches on the disk", &log.bytes),
        ("log_failures", "Attempts to write the delta log that failed", &log.failures),
        ("log_segments_removed", "Segments that no start needs", &log.segments_removed),
        ("log_removal_failures", "Attempts to remove one that failed", &log.removal_failures),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_number(metric, MetricType::Counter, count.load(Relaxed))?;
    }
    let seconds = |ns: &AtomicU64| ns.load(Relaxed) as f64 / 1e9;
    let help = "Time that writing and syncing took";
    let name = "log_commit_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&seconds(&log.commit_ns), None)?;
    let help = "The longest time that one commit took";
    let name = "log_commit_seconds_max";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&seconds(&log.commit_ns_max))?;
    for (name, help, value) in [
        ("log_durable_commit", "Number of the last commit on the disk", &log.durable_commit),
        ("log_kept_bytes", "Bytes of the delta log's segments", &log.kept_bytes),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        encode_number(metric, MetricType::Gauge, value.load(Relaxed))?;
    }
    let help = "Whether the delta log cannot be written at the moment";
    let mut metric = encoder.encode_descriptor("log_failing", help, None, MetricType::Gauge)?;
    metric.encode_gauge(&i64::from(log.is_failing.load(Relaxed)))
}

fn encode_number(
    mut encoder: MetricEncoder<'_>,
    kind: MetricType,
    value: u64,
) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

fn encode_durations(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &[ShardMetrics],
) -> Result<(), fmt::Error> {
    type Read = fn(&ShardMetrics) -> DurationHistogram;
    let histograms: [(&str, &str, Read); 2] = [
        ("turn_seconds", "Time that turns took", |shard| shard.turn_time.read()),
        ("turn_interval_seconds", "Time between the starts of turns", |shard| {
            shard.turn_interval.read()
        }),
    ];
    for (name, help, read) in histograms {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (number, shard) in shards.iter().enumerate() {
            let histogram = read(shard);
            let buckets: [(f64, u64); DURATION_BUCKETS] =
                core::array::from_fn(|index| (bucket_end_s(index), histogram.buckets[index]));
            // From the buckets, so that count and buckets agree in whatever was read.
            let count = histogram.buckets.iter().sum();
            let sum_s = histogram.sum_ns as f64 / 1e9;
            family
                .encode_family(&[("shard", number)])?
                .encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
        }
    }
    // As a counter too: turns per second without a histogram query.
    let mut family = encoder.encode_descriptor("turns", "Turns made", None, MetricType::Counter)?;
    for (number, shard) in shards.iter().enumerate() {
        let turns = shard.turn_time.read().buckets.iter().sum();
        encode_number(family.encode_family(&[("shard", number)])?, MetricType::Counter, turns)?;
    }
    Ok(())
}

/// The upper end of a bucket in seconds.
fn bucket_end_s(index: usize) -> f64 {
    if index == DURATION_BUCKETS - 1 { f64::INFINITY } else { (1_u64 << index) as f64 / 1e6 }
}

fn encode_by_reason(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &[ShardMetrics],
    name: &str,
    help: &str,
    read: fn(&ShardMetrics) -> &[core::sync::atomic::AtomicU64; Reason::ALL.len()],
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (number, shard) in shards.iter().enumerate() {
        let shard_label = number.to_string();
        for (reason, count) in Reason::ALL.iter().zip(read(shard)) {
            let labels = [("shard", shard_label.as_str()), ("reason", reason.word())];
            let encoder = family.encode_family(&labels)?;
            encode_number(encoder, MetricType::Counter, count.load(Relaxed))?;
        }
    }
    Ok(())
}

fn encode_connections(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &[ShardMetrics],
) -> Result<(), fmt::Error> {
    let mut family =
        encoder.encode_descriptor("connections", "Open connections", None, MetricType::Gauge)?;
    for (number, shard) in shards.iter().enumerate() {
        let shard_label = number.to_string();
        let labels = Protocol::ALL.iter().map(|protocol| protocol.label());
        for (label, count) in labels.chain([UNDETECTED]).zip(&shard.connections) {
            let labels = [("shard", shard_label.as_str()), ("protocol", label)];
            let encoder = family.encode_family(&labels)?;
            encode_number(encoder, MetricType::Gauge, count.load(Relaxed))?;
        }
    }
    Ok(())
}
