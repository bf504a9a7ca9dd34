//! Where the admin endpoint is, and its token. No token is ever an argument, since those can be read
//! by every process of the machine.

use std::path::PathBuf;

use super::AdminArguments;
use super::client::AdminClient;
use crate::admin::token::{Token, runtime_file, token_file_of_data};
use crate::config::{AdminConfig, Endpoint};
use crate::fatal::{Fatal, FatalReason};

pub(crate) fn find(arguments: &AdminArguments) -> Result<AdminClient, Fatal> {
    let config = AdminConfig::load(arguments.config.as_deref())?;
    let endpoint = arguments.admin.clone().unwrap_or(config.listen);
    let given = arguments.token_file.clone().or(config.token_file);
    let data = arguments.data.clone().or(config.data);
    let token = match (&endpoint, given) {
        // Who may open it may ask.
        (Endpoint::Unix(_), _) => None,
        (_, Some(file)) => Some(read(file)?),
        (Endpoint::Tcp(_), None) => Some(find_left(&endpoint, data)?),
    };
    Ok(AdminClient { endpoint, token })
}

fn read(file: PathBuf) -> Result<Token, Fatal> {
    let told = |error| Fatal::new(FatalReason::ConfigInvalid, format_args!("the token: {error}"));
    Token::read(&file).map_err(told)
}

/// The token that a server of this machine has left. It is nothing for other machines: whoever
/// listens there would have it.
fn find_left(endpoint: &Endpoint, data: Option<PathBuf>) -> Result<Token, Fatal> {
    if endpoint.is_reachable() {
        let detail = format!("{endpoint} asks for a token: --token-file FILE");
        return Err(Fatal::new(FatalReason::ConfigInvalid, detail));
    }
    let of_port = endpoint.port().and_then(runtime_file);
    let places: Vec<_> = of_port.into_iter().chain(data.map(|d| token_file_of_data(&d))).collect();
    if let Some(file) = places.iter().find(|file| file.exists()) {
        return read(file.clone());
    }
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let looked = if places.is_empty() {
        "without XDG_RUNTIME_DIR there is no place to look".to_owned()
    } else {
        format!("not in {}", places.join(", nor in "))
    };
    let detail = format!(
        "no server on {endpoint} has left its token ({looked}): is it running? Say where with \
         --token-file, --config or --data"
    );
    Err(Fatal::new(FatalReason::ConfigInvalid, detail))
}
