//! XML against quick-xml: whatever ours takes, that one reads as the same message.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::random::Random;
use super::*;

/// A field's value, as XML has it.
#[derive(Clone, Debug, PartialEq)]
enum Held {
    Text(String),
    List(Vec<String>),
}

type Fields = Vec<(String, Held)>;

/// The message by our own reader.
fn by_us(document: &str) -> Result<(String, Fields), Reason> {
    let frame = [document.as_bytes(), b"\0"].concat();
    let mut out = Vec::new();
    match decode_once(Protocol::Xml, &GatewaySettings::default(), &frame, &mut out) {
        Frame::Message { .. } => {}
        Frame::Refused { reason, .. } | Frame::Fatal { reason } => return Err(reason),
        _ => return Err(Reason::Malformed),
    }
    let message = Message::from_checked(&out);
    let held = |value| match value {
        Value::Text(text) => Held::Text(text.to_owned()),
        Value::List(list) => Held::List(list.iter().map(str::to_owned).collect()),
        other => panic!("no value of XML: {other:?}"),
    };
    let fields = message.fields().map(|(name, value)| (name.to_owned(), held(value)));
    Ok((message.method().to_owned(), fields.collect()))
}

/// What quick-xml's events come to, or none when it refuses them or they are no message.
#[derive(Default)]
struct Oracle {
    method: Option<String>,
    has_method_attribute: bool,
    fields: Fields,
    path: Vec<String>,
    text: String,
    items: Vec<String>,
}

impl Oracle {
    fn read(document: &str) -> Option<(String, Fields)> {
        let mut reader = Reader::from_str(document);
        reader.config_mut().enable_all_checks(true);
        reader.config_mut().expand_empty_elements = true;
        let mut oracle = Self::default();
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => oracle.start(&start)?,
                Event::End(_) => oracle.end()?,
                Event::Text(text) => oracle.text += &text.xml10_content(),
                Event::CData(text) => oracle.text += &text.xml10_content(),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                    Some(character) => oracle.text.push(character),
                    None => oracle.text += resolve_predefined_entity(&reference)?,
                },
                Event::Decl(_) | Event::Comment(_) => {}
                Event::Eof => break,
                Event::DocType(_) | Event::PI(_) | Event::Empty(_) => return None,
            }
        }
        oracle.path.is_empty().then_some(())?;
        Some((oracle.method?, oracle.fields))
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Option<()> {
        let name = start.name().0.to_owned();
        match &self.path[..] {
            [] if name == "msg" => {
                for attribute in start.attributes() {
                    let attribute = attribute.ok()?;
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
                    match attribute.key.0 {
                        "method" | "msg:method" => {
                            self.has_method_attribute = true;
                            self.method = Some(value.into_owned());
                        }
                        key => self.fields.push((key.to_owned(), Held::Text(value.into_owned()))),
                    }
                }
            }
            [_] => {}
            [_, _] if name == "item" => {}
            _ => return None,
        }
        self.path.push(name);
        self.text.clear();
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        let name = self.path.pop()?;
        let text = std::mem::take(&mut self.text);
        match self.path.len() {
            0 => {}
            1 if name == "method" && !self.has_method_attribute => self.method = Some(text),
            1 if self.items.is_empty() => self.fields.push((name, Held::Text(text))),
            1 => self.fields.push((name, Held::List(std::mem::take(&mut self.items)))),
            _ => self.items.push(text),
        }
        Some(())
    }
}

#[test]
fn what_is_taken_means_the_same_to_quick_xml() {
    let vectors = vectors_of("xml.json");
    let mut taken = 0;
    for seed in 0..200_000 {
        let mut random = Random(seed);
        let vector = random.pick(&vectors);
        let bytes = super::random::random_bytes(&mut random, &vector.bytes);
        let document = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        let Ok(document) = str::from_utf8(document) else { continue };
        if document.contains('\0') {
            continue;
        }
        if let Ok(ours) = by_us(document) {
            taken += 1;
            assert_eq!(Some(ours), Oracle::read(document), "seed {seed}: {document:?}");
        }
    }
    assert!(taken > 10_000, "the input is too random to reach much: {taken} documents");
}

#[test]
fn documents_of_every_shape_are_taken() {
    for seed in 0..50_000 {
        let (document, expected) = random_document(&mut Random(seed));
        assert_eq!(by_us(&document).as_ref(), Ok(&expected), "seed {seed}: {document:?}");
        assert_eq!(Oracle::read(&document), Some(expected), "seed {seed}: {document:?}");
    }
}

const CHARACTERS: &[char] = &[
    'a', 'b', ' ', '<', '>', '&', '"', '\'', ']', '\t', '\n', '\r', '-', '=', '/', 'é', '🐇',
    '\u{fffd}',
];

fn random_text(random: &mut Random) -> String {
    (0..random.below(6)).map(|_| *random.pick(CHARACTERS)).collect()
}

/// Blanks, comments too where `outside` of tags.
fn blank(random: &mut Random, outside: bool) -> &'static str {
    const BLANKS: &[&str] = &["", " ", "\n", "\t ", "\r\n", "<!---->", "<!-- <a>&b; - -->\r"];
    let count = if outside { BLANKS.len() } else { 5 };
    BLANKS[random.below(count)]
}

fn write_character(random: &mut Random, character: char, place: Option<char>, out: &mut String) {
    let entity = match character {
        '<' => "&lt;",
        '>' => "&gt;",
        '&' => "&amp;",
        '"' => "&quot;",
        '\'' => "&apos;",
        _ => "",
    };
    let in_attribute = matches!(character, '\t' | '\n') && place.is_some();
    let is_mark = matches!(character, '<' | '&' | '\r' | '>') || Some(character) == place;
    match random.below(4) {
        0 => *out += &format!("&#{};", character as u32),
        1 => *out += &format!("&#x{:04x};", character as u32),
        2 if !entity.is_empty() => *out += entity,
        _ if !is_mark && !in_attribute => out.push(character),
        _ => *out += &format!("&#x{:X};", character as u32),
    }
}

fn write_attribute(random: &mut Random, name: &str, text: &str, out: &mut String) {
    let quote = *random.pick(&['"', '\'']);
    let blanks = [blank(random, false), blank(random, false), blank(random, false)];
    *out += &format!(" {}{name}{}={}{quote}", blanks[0], blanks[1], blanks[2]);
    text.chars().for_each(|character| write_character(random, character, Some(quote), out));
    out.push(quote);
}

fn write_content(random: &mut Random, text: &str, out: &mut String) {
    for character in text.chars() {
        match random.below(8) {
            0 if character != '\r' => *out += &format!("<![CDATA[{character}]]>"),
            1 => {
                *out += "<!-- & -->";
                write_character(random, character, None, out);
            }
            _ => write_character(random, character, None, out),
        }
    }
}

fn write_element(random: &mut Random, name: &str, content: &str, out: &mut String) {
    let blanks = [blank(random, false), blank(random, false)];
    if content.is_empty() && random.below(2) == 0 {
        *out += &format!("<{name}{}/>", blanks[0]);
    } else {
        *out += &format!("<{name}{}>{content}</{name}{}>", blanks[0], blanks[1]);
    }
}

/// A document, and the message that it is.
fn random_document(random: &mut Random) -> (String, (String, Fields)) {
    let mut document = String::new();
    document += random.pick::<&str>(&["", "", "\u{feff}"]);
    document += random.pick::<&str>(&[
        "",
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" encoding='utf-8' ?>",
    ]);
    document += blank(random, true);
    document += "<msg";
    let (mut fields, method) = (Fields::new(), "chat".to_owned());
    let mut names: Vec<&str> = "to text a item B _ z.9-_ xml chat".split(' ').collect();
    let method_is_element = random.below(3) == 0;
    if !method_is_element {
        let name = *random.pick(&["method", "msg:method"]);
        write_attribute(random, name, &method, &mut document);
    }
    for _ in 0..random.below(3) {
        let name = names.swap_remove(random.below(names.len()));
        let text = random_text(random);
        write_attribute(random, name, &text, &mut document);
        fields.push((name.to_owned(), Held::Text(text)));
    }
    // Names that are none of an attribute's.
    names.push("xmlns");
    if !method_is_element {
        names.push("method");
    }
    document += blank(random, false);
    document.push('>');
    let method_at = if method_is_element { Some(random.below(3)) } else { None };
    for index in 0..3 {
        document += blank(random, true);
        if method_at == Some(index) {
            write_element(random, "method", &method, &mut document);
            continue;
        }
        let name = names.swap_remove(random.below(names.len()));
        let (held, content) = random_value(random);
        write_element(random, name, &content, &mut document);
        fields.push((name.to_owned(), held));
    }
    document += blank(random, true);
    document += "</msg>";
    document += blank(random, true);
    (document, (method, fields))
}

/// A value, and how it stands in its element.
fn random_value(random: &mut Random) -> (Held, String) {
    let mut content = String::new();
    if random.below(3) > 0 {
        let text = random_text(random);
        write_content(random, &text, &mut content);
        return (Held::Text(text), content);
    }
    let texts: Vec<String> = (0..1 + random.below(3)).map(|_| random_text(random)).collect();
    for text in &texts {
        content += blank(random, true);
        let mut item = String::new();
        write_content(random, text, &mut item);
        write_element(random, "item", &item, &mut content);
    }
    content += blank(random, true);
    (Held::List(texts), content)
}
