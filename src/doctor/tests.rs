//! Every row that warns or fails is provoked here by facts; those that a test can provoke on a
//! real machine are provoked in `tests/integration` too.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use warren_net::io::probe::{Environment, FEATURES, Feature, Finding, explain};

use super::facts::{Limit, Mount};
use super::trials::{CertificateFacts, DataFacts};
use super::*;

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const GIB: u64 = 1 << 30;

fn config() -> ServerConfig {
    ServerConfig { shards: 2, ..ServerConfig::default() }
}

fn mount(point: &str, kind: &str) -> Mount {
    Mount { point: point.into(), kind: kind.into() }
}

/// A machine on which everything passes.
fn good() -> Facts {
    let limit = |number| Some(Limit { soft: Some(number), hard: Some(number) });
    let system = SystemFacts {
        kernel_release: Some("6.12.9+bpo-amd64".into()),
        io_uring_disabled: Some(0),
        seccomp_mode: Some(0),
        user_id: Some(990),
        locks_freely: false,
        descriptors: limit(1 << 20),
        locked_memory: limit(64 << 20),
        cores: vec![0, 1, 2, 3],
        siblings: (0..4).map(|core| (core, vec![core])).collect(),
        governors: (0..4).map(|core| (core, "performance".into())).collect(),
        quota_cores: None,
        clock_source: Some("tsc".into()),
        clock_sources: vec!["tsc".into(), "hpet".into()],
        memory_total_bytes: Some(16 * GIB),
        memory_available_bytes: Some(12 * GIB),
        memory_limit_bytes: None,
        memory_room_bytes: None,
        overcommit: Some(0),
        huge_pages: Some("madvise".into()),
        backlog_max: Some(4096),
        port_range: Some((32_768, 60_999)),
        ports_reserved: String::new(),
        mounts: vec![mount("/", "ext4"), mount("/mnt", "tmpfs"), mount("/mnt/far", "nfs4")],
    };
    let data = DataFacts {
        folder: "/var/lib/warren".into(),
        place: "/var/lib/warren".into(),
        exists: true,
        writable: Ok(()),
        locked_by: None,
        free_bytes: Some(100 * GIB),
    };
    let trials = TrialFacts {
        features: vec![Finding::Works; FEATURES.len()],
        rings: Ok(()),
        listen: Ok(()),
        admin: Ok(()),
        token: None,
        data: Some(data),
        certificate: Some(CertificateFacts::Usable { days_left: Some(60) }),
    };
    Facts { system, trials }
}

fn row(check: &str, facts: &Facts) -> Row {
    let found = rows(facts, &config()).into_iter().find(|row| row.check == check);
    found.unwrap_or_else(|| panic!("no row {check}"))
}

type Change = fn(&mut Facts);

/// Check, what is wrong, the verdict, what is seen, and a part of the remedy.
type Case = (&'static str, Change, Verdict, &'static str, &'static str);

fn missing(facts: &mut Facts, feature: Feature, errno: i32) {
    let environment = Environment {
        kernel: facts.system.kernel_version(),
        io_uring_disabled: facts.system.io_uring_disabled,
        descriptors_max: 100,
    };
    let missing = explain(feature, errno, &environment);
    facts.trials.features[feature as usize] = Finding::Missing(missing);
}

fn data(facts: &mut Facts) -> &mut DataFacts {
    facts.trials.data.as_mut().expect("the good machine has a folder")
}

use Verdict::{Fail, Warn};

const KERNEL_CASES: &[Case] = &[
    ("kernel", |f| f.system.kernel_release = Some("6.1.0-18-amd64".into()), Fail, "6.1", "6.12"),
    ("kernel", |f| f.system.kernel_release = None, Warn, "cannot be read", "/proc"),
    ("kernel", |f| f.system.kernel_release = Some("odd".into()), Warn, "odd", "6.12"),
    ("io-uring-setting", |f| f.system.io_uring_disabled = Some(2), Fail, "is 2", "sysctl"),
    ("io-uring-setting", |f| f.system.io_uring_disabled = Some(1), Warn, "is 1", "group"),
    (
        "io-uring-setting",
        |f| {
            f.system.io_uring_disabled = Some(1);
            missing(f, Feature::RingSetup, EPERM);
        },
        Fail,
        "this user may not",
        "io_uring_group",
    ),
    (
        "seccomp",
        |f| {
            f.system.seccomp_mode = Some(2);
            missing(f, Feature::RingSetup, EPERM);
        },
        Fail,
        "no io_uring",
        "deploy/seccomp.json",
    ),
    ("rings", |f| f.trials.rings = Err("no room".into()), Fail, "2 rings", "no room"),
    (
        "descriptors",
        |f| f.system.descriptors = Some(Limit { soft: Some(10), hard: Some(1024) }),
        Fail,
        "hard limit 1024; `limits.connections_max` needs 16449",
        "at most 959",
    ),
    ("descriptors", |f| f.system.descriptors = None, Warn, "cannot be read", "/proc"),
    (
        "locked-memory",
        |f| f.system.locked_memory = Some(Limit { soft: Some(4 << 20), hard: None }),
        Warn,
        "limit 4 MiB",
        "raise it to 8 MiB",
    ),
    ("locked-memory", |f| f.system.locked_memory = None, Warn, "cannot be read", "/proc"),
    ("user", |f| f.system.user_id = Some(0), Warn, "root", "a user of its own"),
    ("user", |f| f.system.user_id = None, Warn, "cannot be read", "/proc"),
];

const PROCESSOR_CASES: &[Case] = &[
    ("cores", |f| f.system.cores = vec![3], Warn, "2 shards on 1 core of", "at most 1"),
    ("cores", |f| f.system.cores.clear(), Warn, "cannot be read", "/proc"),
    (
        "core-siblings",
        |f| f.system.siblings = BTreeMap::from([(0, vec![0, 1]), (1, vec![0, 1])]),
        Warn,
        "0 and 1",
        "taskset -c 0,2,3,",
    ),
    ("cpu-quota", |f| f.system.quota_cores = Some(1.5), Warn, "1.5 cores' time", "CPUQuota="),
    (
        "cpu-governor",
        |f| drop(f.system.governors.insert(1, "powersave".into())),
        Warn,
        "powersave on core 1",
        "cpupower",
    ),
    ("clock-source", |f| f.system.clock_source = Some("hpet".into()), Warn, "hpet", "echo tsc >"),
    (
        "clock-source",
        |f| {
            f.system.clock_source = Some("acpi_pm".into());
            f.system.clock_sources = vec!["acpi_pm".into()];
        },
        Warn,
        "acpi_pm",
        "dmesg",
    ),
    ("clock-source", |f| f.system.clock_source = None, Warn, "cannot be read", "/sys"),
];

const MEMORY_CASES: &[Case] = &[
    (
        "memory",
        |f| f.system.memory_available_bytes = Some(32 << 20),
        Fail,
        "32 MiB available; the server starts with 48 MiB",
        "fewer shards",
    ),
    ("memory", |f| f.system.memory_available_bytes = Some(90 << 20), Warn, "90 MiB", "on top"),
    (
        "memory",
        |f| f.system.memory_limit_bytes = Some(256 << 20),
        Warn,
        "256 MiB by the control group",
        "on top",
    ),
    (
        "memory",
        |f| f.system.memory_room_bytes = Some(32 << 20),
        Fail,
        "32 MiB available",
        "MemoryMax=",
    ),
    (
        "memory",
        |f| f.system.memory_available_bytes = Some(8 * GIB),
        Warn,
        "available",
        "limits.state_bytes_max",
    ),
    ("memory", |f| f.system.memory_total_bytes = None, Warn, "cannot be read", "/proc"),
    ("overcommit", |f| f.system.overcommit = Some(2), Warn, "is 2", "=0"),
    ("huge-pages", |f| f.system.huge_pages = Some("always".into()), Warn, "always", "madvise"),
];

const NETWORK_CASES: &[Case] = &[
    ("listen", |f| f.trials.listen = Err("in use".into()), Fail, "7171: in use", "sport = :7171"),
    ("admin", |f| f.trials.admin = Err("in use".into()), Fail, "7172: in use", "sport = :7172"),
    ("backlog", |f| f.system.backlog_max = Some(128), Warn, "is 128", "somaxconn=4096"),
    (
        "port-range",
        |f| f.system.port_range = Some((1024, 65_535)),
        Warn,
        "up to 64512 clients",
        "reserved_ports=7171,7172,",
    ),
    (
        "port-range",
        |f| {
            f.system.port_range = Some((1024, 65_535));
            f.system.ports_reserved = "80,7171".into();
        },
        Warn,
        "up to 64512 clients",
        "reserved_ports=80,7171,7172,",
    ),
];

const STORAGE_CASES: &[Case] = &[
    ("data-folder", |f| data(f).locked_by = Some("12".into()), Fail, "process 12", "stop that"),
    (
        "data-folder",
        |f| data(f).writable = Err("read-only".into()),
        Fail,
        "/var/lib/warren cannot be written: read-only",
        "chown",
    ),
    ("data-file-system", |f| data(f).place = "/mnt/a".into(), Warn, "tmpfs", "on a disk"),
    ("data-file-system", |f| data(f).place = "/mnt/far/a".into(), Warn, "nfs4", "this machine"),
    ("data-free-space", |f| data(f).free_bytes = Some(1 << 20), Fail, "1 MiB free", "room"),
    ("data-free-space", |f| data(f).free_bytes = Some(100 << 20), Warn, "100 MiB free", "room"),
    ("data-free-space", |f| data(f).free_bytes = None, Warn, "cannot be read", "df"),
];

const TLS_CASES: &[Case] = &[
    ("certificate", |f| certificate(f, Some(13)), Warn, "expires in 13 days", "SIGHUP"),
    ("certificate", |f| certificate(f, Some(-1)), Fail, "expired", "SIGHUP"),
    (
        "certificate",
        |f| f.trials.certificate = Some(CertificateFacts::Unusable("no key".to_owned())),
        Fail,
        "no key",
        "PEM",
    ),
];

fn certificate(facts: &mut Facts, days_left: Option<i64>) {
    facts.trials.certificate = Some(CertificateFacts::Usable { days_left });
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [KERNEL_CASES, PROCESSOR_CASES, MEMORY_CASES, NETWORK_CASES, STORAGE_CASES, TLS_CASES]
        .into_iter()
        .flatten()
}

#[test]
fn a_good_machine_passes() {
    for row in rows(&good(), &config()) {
        assert_eq!((row.verdict, &row.remedy), (Verdict::Pass, &None), "{row:?}");
    }
}

#[test]
fn each_fault_is_told_with_its_remedy() {
    for (check, change, verdict, seen, remedy) in cases() {
        let mut facts = good();
        change(&mut facts);
        let row = row(check, &facts);
        let told = row.remedy.as_deref().unwrap_or_default();
        assert_eq!(row.verdict, *verdict, "{row:?}");
        assert!(row.seen.contains(seen) && told.contains(remedy), "{row:?}");
    }
}

#[test]
fn no_two_checks_have_one_name_and_each_can_fall() {
    let rows = rows(&good(), &config());
    for (index, row) in rows.iter().enumerate() {
        assert!(rows[..index].iter().all(|earlier| earlier.check != row.check), "{row:?}");
        let falls = row.check.starts_with("io-uring-") || cases().any(|case| case.0 == row.check);
        assert!(falls, "no case provokes {}", row.check);
    }
}

#[test]
fn each_feature_has_a_row_that_fails() {
    for (feature, name) in FEATURES.iter().zip([
        "setup",
        "minimum-wait",
        "registered-ring",
        "eventfd",
        "sparse-file-table",
        "provided-buffer-ring",
        "multishot-direct-accept",
        "multishot-receive",
        "silent-send",
        "shutdown-cancel-and-close",
        "ring-messages",
    ]) {
        let check = format!("io-uring-{name}");
        let mut facts = good();
        facts.system.kernel_release = Some("2.4.0".into());
        missing(&mut facts, feature.feature, EINVAL);
        let found = row(&check, &facts);
        assert_eq!(found.verdict, Verdict::Fail, "{found:?}");
        assert!(found.seen.contains("error 22"), "{found:?}");
        assert!(found.remedy.unwrap().contains("newer"));
        facts.trials.features[feature.feature as usize] = Finding::Untried;
        let found = row(&check, &facts);
        assert_eq!(found.verdict, Verdict::Warn, "{found:?}");
    }
}

#[test]
fn what_does_not_bind_is_no_fault() {
    let mut facts = good();
    facts.system.locks_freely = true;
    facts.system.locked_memory = Some(Limit { soft: Some(0), hard: Some(0) });
    facts.system.seccomp_mode = Some(2);
    facts.system.port_range = Some((1024, 65_535));
    facts.system.ports_reserved = "7000-7172".into();
    facts.system.descriptors = Some(Limit { soft: Some(10), hard: None });
    facts.system.quota_cores = Some(2.0);
    facts.system.governors.clear();
    facts.system.siblings.clear();
    facts.system.io_uring_disabled = None;
    facts.system.mounts.clear();
    facts.trials.data.as_mut().unwrap().exists = false;
    // Threads of one core, of which a shard has one only.
    facts.system.siblings = (0..4).map(|core| (core, vec![core % 2, core % 2 + 2])).collect();
    for row in rows(&facts, &config()) {
        assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
    }
    facts.trials.data = None;
    assert_eq!(row("data-folder", &facts).verdict, Verdict::Pass);
}

#[test]
fn a_filter_is_not_blamed_for_what_another_remedy_mends() {
    let mut facts = good();
    facts.system.seccomp_mode = Some(2);
    facts.system.io_uring_disabled = Some(2);
    missing(&mut facts, Feature::RingSetup, EPERM);
    assert_eq!(row("seccomp", &facts).verdict, Verdict::Pass);
    assert_eq!(row("io-uring-setting", &facts).verdict, Verdict::Fail);
}

#[test]
fn the_admin_endpoint_s_token_is_looked_at() {
    let told = |token, admin_listen: &str| {
        let mut facts = good();
        facts.trials.token = token;
        let config = ServerConfig { admin_listen: admin_listen.parse().unwrap(), ..config() };
        rows(&facts, &config).into_iter().find(|row| row.check == "admin").unwrap()
    };
    let row = told(Some(Ok(())), "0.0.0.0:7172");
    assert_eq!((row.verdict, row.seen.ends_with("asks for a token")), (Verdict::Pass, true));
    let row = told(Some(Err("/t: mode 0644".into())), "127.0.0.1:7172");
    assert_eq!(row.verdict, Verdict::Fail);
    assert!(row.seen.contains("/t: mode 0644") && row.remedy.is_some(), "{row:?}");
    let row = told(None, "unix:/run/warren/s");
    assert_eq!((row.verdict, row.seen.contains("unix:/run/warren/s")), (Verdict::Pass, true));
    let mut facts = good();
    facts.trials.admin = Err("another server listens there".into());
    let config = ServerConfig { admin_listen: "unix:/s".parse().unwrap(), ..config() };
    let row = rows(&facts, &config).into_iter().find(|row| row.check == "admin").unwrap();
    assert_eq!(row.verdict, Verdict::Fail);
}

#[test]
fn the_report_ends_with_a_summary_and_a_status() {
    let report = |verdicts: &[Verdict]| Report {
        rows: verdicts
            .iter()
            .map(|verdict| Row {
                check: "a-check".into(),
                verdict: *verdict,
                seen: "it".into(),
                remedy: (*verdict != Verdict::Pass).then(|| "mend it".into()),
            })
            .collect(),
    };
    assert_eq!(report(&[Verdict::Pass, Verdict::Warn]).exit_status(), 0);
    let failed = report(&[Verdict::Fail, Verdict::Warn, Verdict::Pass]);
    assert_eq!(failed.exit_status(), 71);
    let (mut text, mut json) = (Vec::new(), Vec::new());
    failed.write_text(&mut text).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "fail  a-check  it\n               to do: mend it\n\
         warn  a-check  it\n               to do: mend it\n\
         pass  a-check  it\n\
         1 passed, 1 to look at, 1 failed\n"
    );
    failed.write_json(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["verdict"], &json["rows"][1]["verdict"]), (&"fail".into(), &"warn".into()));
    assert_eq!(json["rows"][2]["remedy"], serde_json::Value::Null);
}

#[test]
fn bytes_are_told_in_few_digits() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1 << 20, "1 MiB"),
        (3 << 19, "1.5 MiB"),
        (24_684_092 << 10, "24 GiB"),
        (1 << 60, "1048576 TiB"),
    ] {
        assert_eq!(bytes_text(bytes), text);
    }
}

/// A tree of files like `/proc` and `/sys`, which goes with its test.
struct TestTree(PathBuf);

impl TestTree {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("warren-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

impl Drop for TestTree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const STATUS: &str = "Name:\twarren\nUid:\t990\t991\t991\t991\nCapEff:\t0000000000004000\n\
                      Seccomp:\t2\nSeccomp_filters:\t1\nCpus_allowed_list:\t0-1,4\n";
const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max open files            1024                 unlimited            files     \n\
Max locked memory         8388608              8388608              bytes     \n";
const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
28 27 0:25 / /mnt/two\\040words ro - tmpfs none ro\n\
29 27 0:26 / /mnt rw shared:1 - xfs /dev/vdb rw\n\
30 27 0:27 / /mnt rw - nfs4 far:/ rw\n";

#[test]
fn the_files_of_a_machine_are_read() {
    let core = |core: usize, file: &str| format!("sys/devices/system/cpu/cpu{core}/{file}");
    let (first, last) =
        (core(0, "topology/thread_siblings_list"), core(4, "cpufreq/scaling_governor"));
    let clock = "sys/devices/system/clocksource/clocksource0";
    let (current, available) =
        (format!("{clock}/current_clocksource"), format!("{clock}/available_clocksource"));
    let tree = TestTree::new(
        "machine",
        &[
            ("proc/sys/kernel/osrelease", "6.18.44-fc\n"),
            ("proc/sys/kernel/io_uring_disabled", "1\n"),
            ("proc/self/status", STATUS),
            ("proc/self/limits", LIMITS),
            ("proc/self/uid_map", "         0          0 4294967295\n"),
            ("proc/sys/net/ipv4/ip_local_reserved_ports", "80,7000-7171\n"),
            ("proc/self/mountinfo", MOUNTS),
            ("proc/self/cgroup", "0::/system.slice/warren.service\n"),
            ("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:   900 kB\n"),
            ("proc/sys/vm/overcommit_memory", "2\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4096000\n"),
            ("sys/fs/cgroup/system.slice/memory.high", "2048576\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "1000000\n"),
            ("sys/fs/cgroup/system.slice/warren.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/warren.service/cpu.max", "150000 100000\n"),
            (&first, "0,2-3\n"),
            (&last, "powersave\n"),
            (&current, "hpet\n"),
            (&available, "hpet acpi_pm\n"),
        ],
    );
    let found = SystemFacts::read(&tree.0);
    let expected = SystemFacts {
        kernel_release: Some("6.18.44-fc".into()),
        io_uring_disabled: Some(1),
        seccomp_mode: Some(2),
        user_id: Some(991),
        locks_freely: true,
        descriptors: Some(Limit { soft: Some(1024), hard: None }),
        locked_memory: Some(Limit { soft: Some(8 << 20), hard: Some(8 << 20) }),
        cores: vec![0, 1, 4],
        siblings: BTreeMap::from([(0, vec![0, 2, 3])]),
        governors: BTreeMap::from([(4, "powersave".into())]),
        quota_cores: Some(1.5),
        clock_source: Some("hpet".into()),
        clock_sources: vec!["hpet".into(), "acpi_pm".into()],
        memory_total_bytes: Some(1_024_000),
        memory_available_bytes: Some(921_600),
        memory_limit_bytes: Some(4_096_000),
        memory_room_bytes: Some(1_048_576),
        overcommit: Some(2),
        huge_pages: Some("always".into()),
        backlog_max: Some(128),
        port_range: Some((32_768, 60_999)),
        ports_reserved: "80,7000-7171".into(),
        mounts: vec![
            mount("/", "ext4"),
            mount("/mnt/two words", "tmpfs"),
            mount("/mnt", "xfs"),
            mount("/mnt", "nfs4"),
        ],
    };
    assert_eq!(found, expected);
    assert_eq!(found.kernel_version(), Some((6, 18)));
    assert_eq!([80, 7171, 7172].map(|port| found.is_reserved(port)), [true, true, false]);
    // Root of a user namespace is bound by limits.
    fs::write(tree.0.join("proc/self/uid_map"), "0 990 1\n").unwrap();
    assert!(!SystemFacts::read(&tree.0).locks_freely);
    for (path, kind) in
        [("/srv", "ext4"), ("/mnt/a", "nfs4"), ("/mnt/two words/a", "tmpfs"), ("/mntx", "ext4")]
    {
        assert_eq!(found.file_system(Path::new(path)), Some(kind), "{path}");
    }
}

#[test]
fn control_groups_of_version_1_are_read() {
    let tree = TestTree::new(
        "groups",
        &[
            ("proc/self/cgroup", "4:memory:/a/b\n2:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n"),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ],
    );
    let found = SystemFacts::read(&tree.0);
    assert_eq!((found.memory_limit_bytes, found.quota_cores), (Some(1 << 20), Some(0.5)));
}

#[test]
fn an_empty_tree_is_no_panic() {
    let tree = TestTree::new("empty", &[("proc/nothing", "")]);
    let found = SystemFacts::read(&tree.0);
    assert_eq!(found, SystemFacts::default());
    let facts = Facts { system: found, ..good() };
    assert!(rows(&facts, &config()).iter().all(|row| row.verdict != Verdict::Fail));
}

#[test]
fn the_certificate_is_usable_and_stays_so_for_a_while() {
    let mut facts = good();
    let mut check = |certificate: Option<CertificateFacts>, verdict, seen: &str| {
        facts.trials.certificate = certificate;
        let row = row("certificate", &facts);
        assert_eq!((row.verdict, row.seen.as_str()), (verdict, seen));
    };
    let usable = |days_left| Some(CertificateFacts::Usable { days_left });
    check(None, Verdict::Pass, "`tls.certificate` is not set: no TLS");
    check(usable(None), Verdict::Pass, "usable; it does not say when it expires");
    check(usable(Some(14)), Verdict::Pass, "expires in 14 days");
    check(usable(Some(1)), Verdict::Warn, "expires in 1 day");
}
