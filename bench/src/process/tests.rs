use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use super::server::{ServerProcess, Size, WorkerFile};
use super::*;

#[test]
fn a_child_runs_on_its_cores_and_ends_with_its_owner() {
    let core = *pinning::available_cores().last().unwrap();
    let mut command = Command::new("sleep");
    let child = OwnedChild::start(command.arg("60").stdin(Stdio::null()), &[core]).unwrap();
    let id = child.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    assert!(status.contains(&format!("Cpus_allowed_list:\t{core}\n")), "{status}");
    drop(child);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn cores() -> Vec<usize> {
    pinning::available_cores()
}

#[test]
fn a_server_is_ready_when_it_has_told_all_addresses() {
    let script = "echo admin on 127.0.0.1:1; echo listening on 127.0.0.1:700; \
                  echo listening on 127.0.0.1:701; exec sleep 60";
    let server = ServerProcess::start(shell(script), &cores(), 2).unwrap();
    let ports: Vec<u16> = server.addresses().iter().map(|address| address.port()).collect();
    assert_eq!(ports, [700, 701]);
    assert_eq!(server.admin().map(|address| address.port()), Some(1));
}

#[test]
fn warren_is_configured_for_the_connections_and_ready_when_its_admin_endpoint_is() {
    let folder = std::env::temp_dir().join(format!("warren-process-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (program, told) = (folder.join("warren"), folder.join("told"));
    // The configuration is behind the last argument.
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\n(echo \"$@\"; cat \"$last\") > {}\n\
         echo listening on 127.0.0.1:700\necho admin on 127.0.0.1:701\nexec sleep 60\n",
        told.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let size = Size {
        shards: 2,
        connections_max: 17_000,
        heartbeat_ms: 2_000,
        tls: true,
        snapshot_interval_ms: Some(70),
        settings: vec![("limits.login_ms".to_owned(), "500".to_owned())],
        library: None,
        worker: None,
    };
    let server = ServerProcess::start_warren(&program, &size, &cores()).unwrap();
    assert_eq!(server.admin().map(|address| address.port()), Some(701));
    let certificate = server.certificate().unwrap().to_path_buf();
    assert!(certificate.exists());
    let key = certificate.with_file_name("key.pem");
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.starts_with("serve ") && told.contains(" --shards 2 --config "), "{told}");
    assert!(
        told.ends_with(&format!(
            "\nlimits.connections_max = 17000\nprotocol.heartbeat_ms = 2000\n\
             storage.snapshot_interval_ms = 70\nlimits.login_ms = 500\n\
             tls.certificate = '{}'\ntls.key = '{}'\n",
            certificate.display(),
            key.display()
        )),
        "{told}"
    );
    drop(server);
    assert!(!certificate.exists());
    // It has a worker, but nobody is at its admin endpoint who tells of it.
    let size = Size { worker: Some(WorkerFile("game.py", "import warren\n")), ..size };
    let error = ServerProcess::start_warren(&program, &size, &cores()).unwrap_err();
    assert!(format!("{error:#}").starts_with("the server's worker does not come: "), "{error:#}");
    let told = std::fs::read_to_string(folder.join("told")).unwrap();
    assert!(told.contains("\nworkers.bench.file = '") && told.contains("/game.py'\n"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_server_that_ends_first_is_told_with_its_last_words() {
    for script in ["echo went wrong >&2; exit 3", "echo went wrong >&2; echo listening on nowhere"]
    {
        let error = ServerProcess::start(shell(script), &cores(), 1).unwrap_err();
        assert!(format!("{error:#}").contains("went wrong"), "{error:#}");
    }
}

#[test]
fn a_server_that_ends_badly_when_asked_is_told_with_its_last_words() {
    let script = "trap 'echo cannot store >&2; exit 3' TERM; echo listening on 127.0.0.1:700; \
                  while :; do sleep 0.05; done";
    let server = ServerProcess::start(shell(script), &cores(), 1).unwrap();
    let error = format!("{:#}", server.stop().unwrap_err());
    assert!(error.contains("cannot store") && error.contains("status: 3"), "{error}");
    let script = "trap 'echo stored >&2; exit 0' TERM; echo listening on 127.0.0.1:700; \
                  while :; do sleep 0.05; done";
    let server = ServerProcess::start(shell(script), &cores(), 1).unwrap();
    assert_eq!(server.stop().unwrap().log, "stored\n");
}
