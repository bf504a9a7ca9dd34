use super::*;

fn objects(digest: &str) -> Objects {
    Objects { objects: 7, digest: digest.to_owned() }
}

fn good() -> ExportReport {
    ExportReport {
        catch_up_s: vec![0.5, 1.25],
        is_caught_up: true,
        counts: ExportCounts { commits: 9, rows: 20, failures: 1, gaps: 0, full_copies: 1 },
        server: objects("ab"),
        tables: Some(objects("ab")),
        import_fault: None,
    }
}

#[test]
fn an_export_is_as_good_as_its_worst_part() {
    type Change = fn(&mut ExportReport);
    let cases: [(&str, [u64; 2], Change); 9] = [
        ("", [5, 0], |_| {}),
        ("1 commits were exported while Postgres stood still", [5, 1], |_| {}),
        ("nothing was exported", [0, 0], |_| {}),
        ("did not catch up", [5, 0], |it| it.is_caught_up = false),
        ("2 objects did not go on", [5, 0], |it| it.counts.gaps = 2),
        ("0 full copies", [5, 0], |it| it.counts.full_copies = 0),
        ("2 full copies", [5, 0], |it| it.counts.full_copies = 2),
        ("not what the server has", [5, 0], |it| it.tables = Some(objects("ac"))),
        ("cannot be imported: bad row", [5, 0], |it| {
            it.import_fault = Some("bad row".to_owned());
            it.tables = None;
        }),
    ];
    for (fault, exported, change) in cases {
        let mut report = good();
        change(&mut report);
        let faults = report.faults(exported);
        assert_eq!(faults.len(), usize::from(!fault.is_empty()), "{faults:?}");
        assert!(faults.iter().all(|told| told.contains(fault)), "{fault}: {faults:?}");
    }
    let nothing = Objects { objects: 0, digest: "0".to_owned() };
    let empty = ExportReport { server: nothing.clone(), tables: Some(nothing), ..good() };
    assert_eq!(empty.faults([5, 0]), ["there is nothing to export"]);
}

#[test]
fn what_a_program_tells_of_objects_is_read_past_what_else_it_tells() {
    let told = r#"{"objects":7,"digest":"ab","commit":3,"of_one_moment":true}"#;
    assert_eq!(serde_json::from_str::<Objects>(told).unwrap(), objects("ab"));
    assert!(serde_json::from_str::<Objects>(r#"{"objects":7}"#).is_err());
}

#[test]
fn the_table_tells_each_catching_up() {
    let rows = good().rows([5, 0]);
    assert_eq!(rows[0].1, "5 without the stall, 0 with it");
    assert_eq!(rows[1].1, "0.50, 1.25 s");
    assert_eq!(rows[2].1, "20 rows, 1 failures, 0 gaps, 1 full copies");
    assert_eq!(rows[4].1, "7, digest ab");
}
