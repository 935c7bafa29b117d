//! Times as other programs write them. Never: the clock's.

use crate::clock::DAY_MS;
use crate::domain::Day;

/// Reads a time as Postgres writes it, RFC 3339, or Unix milliseconds; one that falls on a day which votes can be charged to.
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    read(text).filter(|ms| ms / DAY_MS <= u64::from(Day::MAX))
}

fn read(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks: Vec<u8> = [4, 7, 10, 13, 16].iter().filter_map(|at| text.as_bytes().get(*at).copied()).collect();
    let separated = matches!(marks.as_slice(), [b'-', b'-', b' ' | b'T' | b't', b':', b':']);
    let fits = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    let fits = fits && hour < 24 && minute < 60 && second < 61;
    if !separated || !fits || year < 1970 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        millis = format!("{:0<3.3}", &fraction[..digits]).parse().ok()?;
        rest = &fraction[digits..];
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
            let plain = matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes) = if plain { digits.split_at(2) } else { return None };
            let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().unwrap_or(0));
            if hours >= 24 || minutes >= 60 {
                return None;
            }
            sign * (hours * 60 + minutes)
        }
    };
    // Days from 1970-01-01 by the civil calendar, years counted from March.
    let (shifted, place) = (year - i64::from(month <= 2), (month + 9) % 12);
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (place * 153 + 2) / 5 + day - 1 - 719_468;
    let minutes = (days * 24 + hour) * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1_000 + millis).ok()
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgres_and_others_write_them() {
        for (text, ms) in [
            ("1970-01-01 00:00:00+00", Some(0)),
            ("2023-11-14 22:13:20.123456+00", Some(1_700_000_000_123)),
            ("2023-11-14T23:13:20.5+01:00", Some(1_700_000_000_500)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            ("2024-02-29 12:00:00", Some(1_709_208_000_000)),
            ("1700000000000", Some(1_700_000_000_000)),
            ("", None),
            ("yesterday", None),
            ("2023-13-14 22:13:20", None),
            ("2023-11-14 22:13:20+x", None),
            ("1969-01-01 00:00:00", None),
            ("2023-02-29 12:00:00", None),
            ("2100-02-29 12:00:00", None),
            ("2000-02-29 00:00:00", Some(951_782_400_000)),
            ("2023-04-31 12:00:00", None),
            ("2023-11-14 22:13:20+24", None),
            ("2023-11-14 22:13:20+0160", None),
            ("2023-11-14 22:13:20-0330", Some(1_700_012_600_000)),
            ("2149-06-06 23:59:59.999Z", Some(5_662_310_399_999)),
            ("2149-06-07 00:00:00Z", None),
            ("9999-12-31 23:59:59", None),
            ("1700000000000000", None),
            ("18446744073709551615", None),
            ("184467440737095516150", None),
            ("-1", None),
            ("infinity", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
    }
}
