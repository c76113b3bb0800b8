//! Times as ausearch takes them (ausearch(8), `--start` and `--end`).

use std::fs;

use chrono::{DateTime, Datelike, Days, Duration, NaiveDate, NaiveTime, TimeZone, Timelike};

/// Which end of a range a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A date without a time begins at midnight.
    Start,
    /// A date without a time ends at the present time of day.
    Stop,
}

/// What is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither a word, nor a date, nor a time.
    #[error(
        "`{0}` is no time: give a date (MM/DD/YYYY or YYYY-MM-DD), a time (HH:MM or HH:MM:SS), both, or one of now, recent, \
         this-hour, boot, today, yesterday, this-week, week-ago, this-month, this-year"
    )]
    Unknown(String),
    /// Clocks were set forward over it.
    #[error("there is no {0} in this time zone")]
    Skipped(String),
    /// The kernel does not tell when it booted.
    #[error("cannot read the time of the boot from /proc/stat")]
    Boot,
}

/// Seconds since the epoch of one or two words.
///
/// # Errors
/// If they are no time.
pub fn instant<Z: TimeZone>(words: &[String], end: End, now: &DateTime<Z>) -> Result<i64, TimeError> {
    let unknown = || TimeError::Unknown(words.join(" "));
    let (date, clock) = match words {
        [word] if word.contains(':') => (None, Some(word)),
        [word] => (Some(word), None),
        [date, clock] => (Some(date), Some(clock)),
        _ => return Err(unknown()),
    };
    let clock = clock.map(|clock| time_of_day(clock).ok_or_else(unknown)).transpose()?;
    let Some(date) = date else { return on(now.date_naive(), clock.unwrap_or_default(), now) };
    if clock.is_none()
        && let Some(instant) = moment(date, now)?
    {
        return Ok(instant);
    }
    if let Some(day) = calendar_date(date) {
        return on(day, clock.unwrap_or_else(|| end.of_day(now)), now);
    }
    let day = named_day(date, now.date_naive()).ok_or_else(unknown)?;
    // Of the words, ausearch ends today alone at the present time.
    let usual = if date == "today" { end.of_day(now) } else { NaiveTime::MIN };
    on(day, clock.unwrap_or(usual), now)
}

impl End {
    fn of_day<Z: TimeZone>(self, now: &DateTime<Z>) -> NaiveTime {
        match self {
            Self::Start => NaiveTime::MIN,
            Self::Stop => now.time(),
        }
    }
}

/// Words that are a moment and take no time of day.
fn moment<Z: TimeZone>(word: &str, now: &DateTime<Z>) -> Result<Option<i64>, TimeError> {
    Ok(Some(match word {
        "now" => now.timestamp(),
        "recent" => (now.clone() - Duration::minutes(10)).timestamp(),
        "this-hour" => now.timestamp() - i64::from(now.minute() * 60 + now.second()),
        "boot" => boot_time().ok_or(TimeError::Boot)?,
        _ => return Ok(None),
    }))
}

fn boot_time() -> Option<i64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn named_day(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    match word {
        "today" => Some(today),
        "yesterday" => today.pred_opt(),
        "this-week" => today.checked_sub_days(Days::new(today.weekday().num_days_from_sunday().into())),
        "week-ago" => today.checked_sub_days(Days::new(7)),
        "this-month" => today.with_day(1),
        "this-year" => NaiveDate::from_ymd_opt(today.year(), 1, 1),
        _ => None,
    }
}

/// As the C locale writes it, with two digits of the year or four; or as ISO 8601 does.
fn calendar_date(text: &str) -> Option<NaiveDate> {
    // %Y takes two digits too, as a year of the first century.
    let american = match text.rsplit('/').next()?.len() {
        2 => "%m/%d/%y",
        _ => "%m/%d/%Y",
    };
    [american, "%Y-%m-%d"].iter().find_map(|format| NaiveDate::parse_from_str(text, format).ok())
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    ["%H:%M:%S", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())
}

fn on<Z: TimeZone>(day: NaiveDate, time: NaiveTime, now: &DateTime<Z>) -> Result<i64, TimeError> {
    let local = day.and_time(time);
    let instant = now.timezone().from_local_datetime(&local).earliest();
    instant.map(|instant| instant.timestamp()).ok_or_else(|| TimeError::Skipped(local.to_string()))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// Tuesday, 24 November 2026, 16:50:30, two hours east of Greenwich.
    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-24T16:50:30+02:00").unwrap()
    }

    fn shown(words: &[&str], end: End) -> String {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let instant = instant(&words, end, &now()).unwrap();
        let zone = now().timezone();
        zone.timestamp_opt(instant, 0).unwrap().format("%F %T").to_string()
    }

    #[test]
    fn words() {
        for (word, start, stop) in [
            ("now", "2026-11-24 16:50:30", "2026-11-24 16:50:30"),
            ("recent", "2026-11-24 16:40:30", "2026-11-24 16:40:30"),
            ("this-hour", "2026-11-24 16:00:00", "2026-11-24 16:00:00"),
            ("today", "2026-11-24 00:00:00", "2026-11-24 16:50:30"),
            ("yesterday", "2026-11-23 00:00:00", "2026-11-23 00:00:00"),
            ("this-week", "2026-11-22 00:00:00", "2026-11-22 00:00:00"),
            ("week-ago", "2026-11-17 00:00:00", "2026-11-17 00:00:00"),
            ("this-month", "2026-11-01 00:00:00", "2026-11-01 00:00:00"),
            ("this-year", "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
            ("11/20/2026", "2026-11-20 00:00:00", "2026-11-20 16:50:30"),
            ("11/20/26", "2026-11-20 00:00:00", "2026-11-20 16:50:30"),
            ("2026-11-20", "2026-11-20 00:00:00", "2026-11-20 16:50:30"),
            ("10:01", "2026-11-24 10:01:00", "2026-11-24 10:01:00"),
        ] {
            assert_eq!((&*shown(&[word], End::Start), &*shown(&[word], End::Stop)), (start, stop), "{word}");
        }
    }

    #[test]
    fn a_day_with_a_time() {
        for day in ["11/23/2026", "11/23/26", "2026-11-23", "yesterday"] {
            assert_eq!(shown(&[day, "10:00:07"], End::Start), "2026-11-23 10:00:07");
            assert_eq!(shown(&[day, "10:00"], End::Stop), "2026-11-23 10:00:00");
        }
    }

    #[test]
    fn what_is_no_time() {
        for words in
            [&["noon"][..], &["13/01/2026"], &["25:00"], &["today", "x"], &["now", "10:00"], &["10:00", "today"]]
        {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let error = instant(&words, End::Start, &now()).unwrap_err();
            assert_eq!(error, TimeError::Unknown(words.join(" ")));
        }
    }

    #[test]
    fn the_boot_is_past() {
        assert!(instant(&["boot".to_owned()], End::Start, &now()).unwrap() > 0);
    }
}
