use std::process::Stdio;

use super::server::ServerProcess;
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
}

#[test]
fn a_server_that_ends_first_is_told_with_its_last_words() {
    for script in ["echo went wrong >&2; exit 3", "echo went wrong >&2; echo listening on nowhere"]
    {
        let error = ServerProcess::start(shell(script), &cores(), 1).unwrap_err();
        assert!(format!("{error:#}").contains("went wrong"), "{error:#}");
    }
}
