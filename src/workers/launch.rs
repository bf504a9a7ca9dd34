//! How a worker is started: by `warren worker`, which limits itself and becomes what the section says.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::own_key::{OwnKey, user_name};
use crate::config::{ServerConfig, WorkersConfig};
use crate::worker::{
    CA_FILE_VARIABLE, OWN_PROGRAM, TICKET_FILE_VARIABLE, TICKET_VARIABLE, URL_VARIABLE,
    USER_VARIABLE, loopback_of,
};

/// Variables that are the server's alone: for its service manager, and a password.
const OWN_VARIABLES: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PGPASSWORD", TICKET_FILE_VARIABLE];

/// What each process of a section is started with.
pub(super) struct Launch {
    pub(super) section: WorkersConfig,
    key: Arc<OwnKey>,
    url: String,
    ca_file: Option<PathBuf>,
    cores: String,
}

impl Launch {
    pub(super) fn new(
        section: &WorkersConfig,
        config: &ServerConfig,
        key: &Arc<OwnKey>,
        listen: SocketAddr,
        free_cores: &[usize],
    ) -> Self {
        let by_tls = section.url.is_none() && config.tls.required;
        let url = match &section.url {
            Some(url) => url.clone(),
            None if by_tls => format!("tls://localhost:{}", listen.port()),
            None => format!("tcp://{}", loopback_of(listen)),
        };
        let files = config.tls.files.as_ref().filter(|_| by_tls);
        let cores = section.cores.as_deref().unwrap_or(free_cores);
        Self {
            section: section.clone(),
            key: Arc::clone(key),
            url,
            ca_file: files.and_then(|files| std::path::absolute(&files.certificate).ok()),
            cores: cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        }
    }

    /// The name by which the process of that number logs in.
    pub(super) fn user(&self, number: u32) -> String {
        user_name(&self.section.name, number)
    }

    /// Starts the process of that number, in a process group of its own.
    ///
    /// # Errors
    /// The folder is not there, or the system lacks something.
    pub(super) fn start(&self, number: u32) -> io::Result<Child> {
        let user = self.user(number);
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("warren").args(["worker", "--parent", &std::process::id().to_string()]);
        command.args(["--nice", &self.section.nice.to_string(), "--cores", &self.cores]);
        if let Some(bytes) = self.section.memory_bytes_max {
            command.args(["--memory-bytes-max", &bytes.to_string()]);
        }
        command.arg("--").args(&self.section.command);
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        command.envs(&self.section.environment);
        command.env(URL_VARIABLE, &self.url).env(TICKET_VARIABLE, self.key.ticket(&user));
        command.env(USER_VARIABLE, user);
        if let Some(ca_file) = &self.ca_file {
            command.env(CA_FILE_VARIABLE, ca_file);
        }
        if let Some(folder) = &self.section.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).spawn()
    }
}
