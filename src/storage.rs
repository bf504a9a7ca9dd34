//! The threads that store what shards change, and what they write to.

use std::sync::Arc;

use warren_storage::log_executor::LogPort;

use crate::config::ServerConfig;
use crate::delta_log::{LogThread, UnstartedLog};
use crate::export::{ExportThread, UnstartedExport};
use crate::fatal::Fatal;
use crate::metrics::ServerState;
use crate::snapshots::{LogMarks, SnapshotWriter};
use crate::state::StateFolder;

/// Where what changes is stored.
pub(crate) struct Storage {
    pub(crate) stored: StateFolder,
    pub(crate) writer: SnapshotWriter,
    pub(crate) log: LogThread,
    pub(crate) export: Option<ExportThread>,
}

/// Those who write what is stored, before the shards are there.
pub(crate) struct Writers {
    pub(crate) writer: Option<SnapshotWriter>,
    pub(crate) delta_log: Option<UnstartedLog>,
    pub(crate) export: Option<UnstartedExport>,
    /// For each shard, if there is a log.
    pub(crate) log_ports: std::vec::IntoIter<LogPort>,
}

impl Writers {
    pub(crate) fn prepare(
        stored: Option<&StateFolder>,
        config: &ServerConfig,
        state: &ServerState,
    ) -> Result<Self, Fatal> {
        let Some(stored) = stored else {
            let (writer, delta_log, export) = (None, None, None);
            return Ok(Self { writer, delta_log, export, log_ports: Vec::new().into_iter() });
        };
        let export = config.export.as_ref();
        let export =
            export.map(|export| UnstartedExport::prepare(export, stored, state)).transpose()?;
        stored.tell_positions(&state.snapshots().log_needs)?;
        let (ports, log) = UnstartedLog::read(stored, config, state)?;
        let marks = LogMarks { salt: log.end().salt(), progress: state.log() };
        let writer = SnapshotWriter::start(Arc::clone(&stored.store), state.snapshots(), marks)?;
        let (writer, delta_log) = (Some(writer), Some(log));
        Ok(Self { writer, delta_log, export, log_ports: ports.into_iter() })
    }
}
