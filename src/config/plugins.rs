//! The section `plugins`: game code in native libraries.

use std::path::PathBuf;

use warren_plugins::Budget;

use super::error::Located;
use super::keys::PluginsSection;

/// Which plugins a server begins with, and what their calls may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsConfig {
    /// Files of libraries, in the order in which they are loaded.
    pub files: Vec<PathBuf>,
    /// What a call may take.
    pub budget: Budget,
}

pub(super) fn plugins_config(plugins: &PluginsSection) -> Result<PluginsConfig, Located> {
    let files = plugins.files().list()?.into_iter().map(PathBuf::from).collect();
    let call_ns_max = plugins.call_us_max().number()? * 1_000;
    let strikes_max = plugins.strikes_max().number()?;
    Ok(PluginsConfig { files, budget: Budget { call_ns_max, strikes_max } })
}
