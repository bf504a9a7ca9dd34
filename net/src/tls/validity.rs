//! From when until when a certificate is valid: what of it an operator wants to know before clients do.
//! Reads just as much of its DER as leads there (RFC 5280, section 4.1); rustls checks the rest.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970 at which the certificate expires; none when it cannot be read.
#[must_use]
pub fn expires_s(certificate: &[u8]) -> Option<i64> {
    let (_, _, not_after) = element(validity(certificate)?)?;
    let (tag, time, _) = element(not_after)?;
    seconds(tag, time)
}

/// Seconds since 1970 from which on the certificate is valid; none when it cannot be read.
#[must_use]
pub fn begins_s(certificate: &[u8]) -> Option<i64> {
    let (tag, time, _) = element(validity(certificate)?)?;
    seconds(tag, time)
}

/// Both times, one behind the other.
fn validity(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature's algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = expect(fields, tag)?.1;
    }
    expect(fields, SEQUENCE).map(|(validity, _)| validity)
}

/// The first element: its tag, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// The contents of the first element, which is to have this tag, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element(bytes)?;
    (found == tag).then_some((contents, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let digits = time.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let pairs: Vec<i64> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
        .collect();
    let (year, rest) = match (tag, pairs.as_slice()) {
        (UTC_TIME, [year, rest @ ..]) => (year + if *year < 50 { 2000 } else { 1900 }, rest),
        (GENERALIZED_TIME, [century, year, rest @ ..]) => (century * 100 + year, rest),
        _ => return None,
    };
    let &[month, day, hour, minute, second] = rest else { return None };
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days between 1970-01-01 and a day of the Gregorian calendar. Years begin with March here, so
/// that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (year, month, day, expected) in [
            (1970, 1, 1, 0),
            (1970, 3, 1, 59),
            (2000, 2, 29, 11_016),
            (2000, 3, 1, 11_017),
            (2026, 11, 21, 20_778),
            (2100, 3, 1, 47_541),
        ] {
            assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, time, expected) in [
            (UTC_TIME, b"700101000001Z".as_slice(), Some(1)),
            (UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, b"19700102000000Z", Some(86_400)),
            (UTC_TIME, b"700101000001", None),
            (UTC_TIME, b"7001010000Z", None),
            (GENERALIZED_TIME, b"700101000001Z", None),
            (INTEGER, b"700101000001Z", None),
            (UTC_TIME, b"7x0101000001Z", None),
        ] {
            let shown = String::from_utf8_lossy(time).into_owned();
            assert_eq!(seconds(tag, time), expected, "{shown}");
        }
    }

    #[test]
    fn a_real_certificate_says_when_it_is_valid_and_a_cut_one_nothing() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2001, 9, 9);
        for (year, expected) in [(2031, 1_924_992_000), (2075, 3_313_526_400)] {
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = parameters.self_signed(&key).unwrap();
            let bytes: &[u8] = certificate.der();
            assert_eq!(expires_s(bytes), Some(expected));
            assert_eq!(begins_s(bytes), Some(999_993_600));
            // What follows the date is rustls's to check, but the outermost length covers it.
            for length in 0..bytes.len() {
                assert_eq!(expires_s(&bytes[..length]), None, "{length}");
                assert_eq!(begins_s(&bytes[..length]), None, "{length}");
            }
        }
    }
}
