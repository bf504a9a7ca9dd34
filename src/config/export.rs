//! The section `export`: where objects are exported to.

use std::path::PathBuf;
use std::time::Duration;

use warren_storage::postgres::{PlaceError, PostgresPlace};

use super::error::Located;
use super::keys::ExportSection;

/// Where objects are exported to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportConfig {
    /// The tables, without a password.
    pub place: PostgresPlace,
    /// The file with the password, if there is one.
    pub password_file: Option<PathBuf>,
    /// Milliseconds for which changes are gathered.
    pub interval_ms: u64,
    /// Bytes of the delta log beyond which it waits no longer.
    pub log_bytes_max: u64,
    /// Whether what another world has left in the tables may be replaced.
    pub replace: bool,
}

/// Segments of which there is room at least before the log waits for the exporter no more: what a full
/// copy begins with would be gone before it has ended.
const SEGMENTS_MIN: u64 = 4;

pub(super) fn export_config(
    export: &ExportSection,
    has_data: bool,
    segment_bytes: u64,
) -> Result<Option<ExportConfig>, Located> {
    let (interval_ms, timeout_ms) = (export.interval_ms().number()?, export.timeout_ms().number()?);
    let log_bytes_max = export.log_bytes_max().number()?;
    let schema = export.schema().get();
    let timeout = Duration::from_millis(timeout_ms);
    // The name is checked also where nothing is exported.
    let connection = export.postgres().given();
    let text = connection.as_deref().unwrap_or("host=localhost");
    let place = PostgresPlace::parse(text, &schema, timeout).map_err(|error| match error {
        PlaceError::SchemaInvalid => export.schema().out_of_range(&format_args!("{schema:?}")),
        // It may have a secret in it.
        _ => export.postgres().conflict(&"not what it has to be", error.to_string()),
    })?;
    if connection.is_some() && !has_data {
        let why = "allowed: together with `server.data`".to_owned();
        return Err(export.postgres().conflict(&"set", why));
    }
    if connection.is_some() && log_bytes_max < SEGMENTS_MIN * segment_bytes {
        let why = format!(
            "allowed: {SEGMENTS_MIN} times `storage.segment_bytes` ({segment_bytes}) or more"
        );
        return Err(export.log_bytes_max().conflict(&log_bytes_max, why));
    }
    let password_file = export.password_file().given();
    let replace = export.replace().get();
    let config = ExportConfig { place, password_file, interval_ms, log_bytes_max, replace };
    Ok(connection.map(|_| config))
}
