use std::path::Path;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::reload;

use super::*;

fn running(file: &Path) -> Reload {
    let (_, handle) = reload::Layer::new(LevelFilter::INFO);
    let (_, running) = EffectiveConfig::load(Some(file), &Overrides::default(), 2).unwrap();
    let file = Some(file.to_owned());
    Reload::new(file, Overrides::default(), 2, running, LevelSwitch::of(handle))
}

#[test]
fn the_level_holds_at_once_and_the_rest_waits() {
    let file = std::env::temp_dir().join(format!("warren-reload-{}.toml", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let mut reload = running(&file);
    let read = |log_level, waiting: &[&'static str]| ReloadReport::Read {
        log_level,
        waiting: waiting.to_vec(),
        token: None,
        certificate: None,
    };
    for (text, expected) in [
        ("", read(None, &[])),
        ("[log]\nlevel = \"debug\"", read(Some(tracing::Level::DEBUG), &[])),
        ("[log]\nlevel = \"debug\"\n[server]\nshards = 1", read(None, &["server.shards"])),
        // It still waits.
        ("[server]\nshards = 1", read(Some(tracing::Level::INFO), &["server.shards"])),
        ("", read(None, &[])),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(reload.read(), expected, "{text}");
    }
    std::fs::write(&file, "[log]\nlevel = \"loud\"").unwrap();
    let ReloadReport::Refused(error) = reload.read() else { panic!("a wrong level") };
    assert!(error.contains(":2:9: `log.level`"), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(reload.read(), ReloadReport::Refused(_)));
    reload.file = Some("/dev/null".into());
    assert_eq!(reload.read(), ReloadReport::Refused("/dev/null: not a regular file".to_owned()));
    reload.file = None;
    assert_eq!(reload.read(), ReloadReport::NoFile);
}
