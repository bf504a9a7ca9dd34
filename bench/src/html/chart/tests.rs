use super::*;

fn series(points: &[(f64, Option<f64>)], form: Form) -> Series {
    Series { name: "p99".to_owned(), colour: 1, form, points: points.to_vec() }
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        title: "Latency <over> time".to_owned(),
        subtitle: "milliseconds".to_owned(),
        x: Axis::linear("time", "s"),
        y: Axis::logarithmic("", "ms"),
        series,
        bounds: vec![(100.0, "bound 100 ms".to_owned())],
        columns: vec![(0.0, 1.0, "first second".to_owned())],
    }
}

#[test]
fn a_chart_has_its_titles_axes_bounds_and_what_columns_tell() {
    let html = chart(vec![series(&[(0.5, Some(1.0)), (1.5, Some(9.0))], Form::Line)]).to_html();
    for part in [
        "<figcaption>Latency &lt;over&gt; time<span>milliseconds</span>",
        "aria-label=\"Latency &lt;over&gt; time\"",
        ">time (s)</text>",
        ">ms</text>",
        ">bound 100 ms</text>",
        "<title>first second</title>",
        "<path class=\"line c1\" d=\"M",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    // One series needs no legend.
    assert!(!html.contains("legend"), "{html}");
    for mark in ["1", "10", "100"] {
        assert!(html.contains(&format!(">{mark}</text>")), "{mark} in {html}");
    }
}

#[test]
fn points_are_where_their_figures_are() {
    let points = [(0.0, Some(1.0)), (1.0, Some(1.0)), (2.0, Some(100.0))];
    let html = chart(vec![series(&points, Form::Line)]).to_html();
    // From the lower left corner of the plane along its base, and to the upper right.
    assert!(html.contains("d=\"M84.0 260.0h0L343.0 260.0L602.0 40.0\""), "{html}");
}

#[test]
fn a_line_is_broken_where_nothing_is_known_and_a_lone_point_shows() {
    let points = [(0.0, Some(1.0)), (1.0, None), (2.0, Some(1.0)), (3.0, Some(1.0))];
    let html = chart(vec![series(&points, Form::Line)]).to_html();
    let path = html.split("class=\"line c1\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
    assert_eq!(path.matches("h0").count(), 2, "{path}");
}

#[test]
fn without_points_there_is_no_chart() {
    assert_eq!(chart(Vec::new()).to_html(), "");
    assert_eq!(chart(vec![series(&[(0.0, None)], Form::Line)]).to_html(), "");
    assert_eq!(bars("turns", "", &[]), "");
    assert_eq!(bars("turns", "", &[("1 ms".to_owned(), 0)]), "");
}

#[test]
fn each_name_is_once_in_the_legend_and_each_form_is_drawn() {
    let one = [(0.0, Some(1.0))];
    let other = |form| Series { name: "old".to_owned(), colour: 7, ..series(&one, form) };
    let all = vec![
        series(&one, Form::Line),
        series(&one, Form::Faint),
        other(Form::Dots),
        other(Form::Crosses),
    ];
    let html = chart(all).to_html();
    assert_eq!(html.matches("<span><i class=\"c1\"></i>p99</span>").count(), 1, "{html}");
    assert_eq!(html.matches("<span><i class=\"c1\"></i>old</span>").count(), 1, "{html}");
    for part in ["line c1 faint", "<circle class=\"dot c1\"", "l10 10m0 -10l-10 10"] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn bars_tell_their_share_and_their_number() {
    let html = bars("Turns", "", &[("1 ms".to_owned(), 30_000), ("2 ms".to_owned(), 10_000)]);
    assert_eq!(html.matches("class=\"bar\"").count(), 2, "{html}");
    for part in [">30k</text>", ">10k</text>", "2 ms: 10000 turns, 25.000 %", ">80</text>"] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn names_under_many_bars_are_every_other_one() {
    let many: Vec<(String, u64)> = (0..9).map(|name| (format!("n{name}"), 1)).collect();
    for (count, names) in [(7, 7), (8, 4), (9, 5)] {
        let html = bars("Turns", "", &many[..count]);
        assert_eq!(html.matches(">n").count(), names + count, "{html}");
    }
}

#[test]
fn marks_are_round_and_reach_beyond_the_figures() {
    for (greatest, marks) in [
        (1.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (30.0, vec![0.0, 10.0, 20.0, 30.0]),
        (31.0, vec![0.0, 10.0, 20.0, 30.0, 40.0]),
        (0.0042, vec![0.0, 0.001, 0.002, 0.003, 0.004, 0.005]),
    ] {
        let found = Axis::linear("", "").span([greatest]).marks;
        assert_eq!(found.len(), marks.len(), "{found:?}");
        assert!(found.iter().zip(&marks).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }
    for (figures, words) in [
        ([0.9, 4.2], vec!["0.5", "1", "2", "5"]),
        ([0.03, 250.0], vec!["0.1", "1", "10", "100"]),
        ([5.0, 5.0], vec!["5", "10"]),
    ] {
        let found = Axis::logarithmic("", "").span(figures);
        let found: Vec<String> = found.marks.iter().map(|mark| short(*mark)).collect();
        assert_eq!(found, words, "{figures:?}");
    }
    let nines = Axis::percentile("").span([0.5, 0.9996]);
    assert_eq!(nines.marks.len(), 5, "0, 90, 99, 99.9 and 99.99 %: {:?}", nines.marks);
    let fractions = [0.0, 0.9, 0.99, 0.999].map(|figure| nines.fraction(figure));
    for (found, expected) in fractions.iter().zip([0.0, 0.25, 0.5, 0.75]) {
        assert!((found - expected).abs() < 1e-9, "{fractions:?}");
    }
    assert_eq!(nines.fraction(1.0), 1.0);
}

#[test]
fn figures_are_short() {
    for (figure, text) in [
        (0.0, "0"),
        (0.001, "0.001"),
        (0.25, "0.25"),
        (1.0, "1"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (100.0, "100"),
        (1_250.0, "1250"),
        (12_500.0, "12.5k"),
        (2_000_000.0, "2M"),
        (3_000_000_000.0, "3G"),
    ] {
        assert_eq!(short(figure), text);
    }
}
