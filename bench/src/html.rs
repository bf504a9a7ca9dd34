//! Pages that stand alone: one file, no network, no script. Pure: figures in, text out.

pub mod chart;

use std::fmt::Write as _;

/// How it all looks, in light and dark, wide and narrow.
const STYLE: &str = include_str!("html/page.css");

/// A whole document.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Text as it stands between tags and in attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A title with a verdict, whose word is also the class that colours it, and what it rests on.
#[must_use]
pub fn head(title: &str, subtitle: &str, verdict: &str, reasons: &[String]) -> String {
    let (title, subtitle, verdict) = (escape(title), escape(subtitle), escape(verdict));
    let mut text = format!(
        "<h1>{title}</h1>\n<p class=\"muted\">{subtitle}</p>\n\
         <p><span class=\"verdict {verdict}\">{verdict}</span></p>\n"
    );
    text.push_str(&list(reasons));
    text
}

/// A list of sentences; nothing of none.
#[must_use]
pub fn list(items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    format!("<ul class=\"reasons\">\n{items}</ul>\n")
}

/// The figures that matter most: what, how much, and a word on it.
#[must_use]
pub fn tiles(tiles: &[(&str, String, String)]) -> String {
    let mut text = String::from("<div class=\"tiles\">\n");
    for (label, value, note) in tiles {
        let (label, value, note) = (escape(label), escape(value), escape(note));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<div class=\"tile\"><small>{label}</small><b>{value}</b><small>{note}</small></div>"
        );
    }
    text.push_str("</div>\n");
    text
}

/// Names and what they stand for, under a heading.
#[must_use]
pub fn facts(heading: &str, facts: &[(&str, String)]) -> String {
    let mut text = format!("<h2>{}</h2>\n<dl>\n", escape(heading));
    for (name, value) in facts {
        let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    text.push_str("</dl>\n");
    text
}

/// How to run it again.
#[must_use]
pub fn command(command: &str) -> String {
    format!("<h2>Command</h2>\n<p><code>{}</code></p>\n", escape(command))
}

/// Charts beside each other, under a heading; nothing of none.
#[must_use]
pub fn charts(heading: &str, charts: &[String]) -> String {
    if charts.iter().all(String::is_empty) {
        return String::new();
    }
    format!("<h2>{}</h2>\n<div class=\"charts\">\n{}</div>\n", escape(heading), charts.concat())
}

/// A table. Columns whose heading begins with `=` hold words; the others hold figures.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let words = |column: usize| match heads.get(column) {
        Some(head) if head.starts_with('=') => " class=\"words\"",
        _ => "",
    };
    let mut text = String::from("<div class=\"scroll\"><table>\n<tr>");
    for (column, head) in heads.iter().enumerate() {
        let name = escape(head.trim_start_matches('='));
        let _ = write!(text, "<th{}>{name}</th>", words(column));
    }
    text.push_str("</tr>\n");
    for row in rows {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(text, "<td{}>{}</td>", words(column), escape(cell));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table></div>\n");
    text
}

/// What is there for those who ask.
#[must_use]
pub fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n{body}</details>\n", escape(summary))
}

/// A figure with so many digits behind the point, or a dash.
#[must_use]
pub fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone() {
        let page = page("a < b", "<p>body</p>\n");
        assert!(page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n"));
        assert!(page.contains("<title>a &lt; b</title>") && page.contains("<p>body</p>"));
        for outside in ["http:", "https:", "<script", "<link", "url(", "@import", " src="] {
            assert!(!page.contains(outside), "{outside} in the page");
        }
        for colours in ["light dark", "prefers-color-scheme: dark", "max-width: 34rem"] {
            assert!(page.contains(colours), "{colours}");
        }
    }

    #[test]
    fn nothing_that_is_told_becomes_markup() {
        let text = "<b>\"&\"</b>";
        let told = "&lt;b&gt;&quot;&amp;&quot;&lt;/b&gt;";
        assert_eq!(escape(text), told);
        for part in [
            head(text, "", "pass", &[]),
            head("", text, "pass", &[]),
            head("", "", "pass", &[text.to_owned()]),
            tiles(&[("", text.to_owned(), String::new())]),
            tiles(&[("", String::new(), text.to_owned())]),
            facts("", &[("", text.to_owned())]),
            command(text),
            table(&[text], &[]),
            table(&[""], &[vec![text.to_owned()]]),
            details(text, ""),
        ] {
            assert!(part.contains(told) && !part.contains(text), "{part}");
        }
    }

    #[test]
    fn columns_of_words_are_told_from_those_of_figures() {
        let table = table(&["users", "=why"], &[vec!["5".to_owned(), "late".to_owned()]]);
        assert!(table.contains("<th>users</th><th class=\"words\">why</th>"), "{table}");
        assert!(table.contains("<td>5</td><td class=\"words\">late</td>"), "{table}");
    }

    #[test]
    fn what_is_empty_leaves_no_trace() {
        assert_eq!((list(&[]), charts("x", &[String::new()])), (String::new(), String::new()));
        assert_eq!((figure(None, 2), figure(Some(1.234), 2)), ("–".to_owned(), "1.23".to_owned()));
    }
}
