//! What a server's answer means: "OTLP/HTTP Response" of the protocol's specification.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost::Message as _;

use super::http::Answer;
use super::wire::{Response, Status};
use crate::escape::escape;

/// The content type of requests and of their answers.
pub(super) const PROTOBUF: &str = "application/x-protobuf";
/// Longest time that is waited because a server asked for it: nobody knows when it will think otherwise.
const LONGEST: Duration = Duration::from_secs(3600);
/// How much of an answer is worth telling.
const TOLD: usize = 200;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has all of it.
    Taken,
    /// The same, but it has something to say.
    Warned,
    /// It has the rest.
    Partly { refused: u64 },
    /// It never takes it.
    Refused,
    /// It takes less at once.
    TooLarge,
    /// It is to be sent again, not before that where the server said so.
    Later { after: Option<Duration> },
}

impl Answer {
    /// For the log.
    pub(super) fn told(&self) -> String {
        let text = match (self.is_protobuf(), self.status) {
            (true, 200..=299) => self.partial_success().map(|(_, message)| message.into_bytes()),
            (true, _) => Status::decode(&*self.body).ok().map(|status| status.message.into_bytes()),
            (false, _) => None,
        };
        let text = text.unwrap_or_else(|| self.body.clone());
        let text = escape(&text[..text.len().min(TOLD)]).into_owned();
        if text.is_empty() {
            format!("HTTP status {}", self.status)
        } else {
            format!("HTTP status {}: {text}", self.status)
        }
    }

    fn is_protobuf(&self) -> bool {
        self.content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PROTOBUF))
    }

    /// Log records that were rejected, and what the server says of it.
    fn partial_success(&self) -> Option<(u64, String)> {
        let partly = Response::decode(&*self.body).ok()?.partial_success?;
        Some((u64::try_from(partly.rejected_log_records).unwrap_or_default(), partly.error_message))
    }
}

/// Status codes that the specification names are tried again, and so are those that are not about the records: a redirection, and
/// that we did not show who we are, which a new token mends.
pub(super) fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200..=299 => match answer.is_protobuf().then(|| answer.partial_success()).flatten() {
            Some((0, message)) if !message.is_empty() => Outcome::Warned,
            None | Some((0, _)) => Outcome::Taken,
            Some((refused, _)) => Outcome::Partly { refused },
        },
        429 | 502 | 503 | 504 => {
            let after = answer.retry_after.as_deref().and_then(|text| retry_after(text, Utc::now()));
            Outcome::Later { after }
        }
        300..=399 | 401 | 407 => Outcome::Later { after: None },
        413 => Outcome::TooLarge,
        _ => Outcome::Refused,
    }
}

/// `Retry-After`: seconds, or a time (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let after = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text.trim()).ok()?.to_utc() - now).to_std().unwrap_or_default(),
    };
    Some(after.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::super::wire::PartialSuccess;
    use super::*;

    fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, content_type: content_type.to_owned(), retry_after: None, body: body.into() }
    }

    fn partly(rejected_log_records: i64, error_message: &str) -> Answer {
        let partial_success = Some(PartialSuccess { rejected_log_records, error_message: error_message.to_owned() });
        answer(200, PROTOBUF, Response { partial_success }.encode_to_vec())
    }

    #[test]
    fn what_is_tried_again_and_what_is_not() {
        let outcome = |status| outcome(&answer(status, "", ""));
        for status in [200, 202, 204] {
            assert_eq!(outcome(status), Outcome::Taken, "{status}");
        }
        for status in [301, 307, 401, 407, 429, 502, 503, 504] {
            assert_eq!(outcome(status), Outcome::Later { after: None }, "{status}");
        }
        for status in [400, 403, 404, 405, 415, 422, 500, 501, 505] {
            assert_eq!(outcome(status), Outcome::Refused, "{status}");
        }
        assert_eq!(outcome(413), Outcome::TooLarge);
    }

    #[test]
    fn a_partial_success_tells_how_many_were_rejected() {
        assert_eq!(outcome(&partly(3, "too old")), Outcome::Partly { refused: 3 });
        assert_eq!(partly(3, "too old").told(), "HTTP status 200: too old");
        assert_eq!(outcome(&partly(0, "")), Outcome::Taken);
        assert_eq!(outcome(&partly(0, "deprecated")), Outcome::Warned);
        assert_eq!(outcome(&partly(-1, "")), Outcome::Taken);
        // Servers that answer in JSON, or in nothing that could be understood, took it all the same.
        assert_eq!(outcome(&answer(200, "application/json", "{}")), Outcome::Taken);
        assert_eq!(outcome(&answer(200, PROTOBUF, [0xff])), Outcome::Taken);
    }

    #[test]
    fn an_error_is_told_in_the_servers_words() {
        let status = Status { message: "no such tenant".to_owned() }.encode_to_vec();
        assert_eq!(answer(400, PROTOBUF, status).told(), "HTTP status 400: no such tenant");
        assert_eq!(
            answer(503, "text/html", "<p>\x1b[0m</p>").told(),
            format!("HTTP status 503: {}", escape(b"<p>\x1b[0m</p>"))
        );
        assert_eq!(answer(404, "", "").told(), "HTTP status 404");
        assert!(answer(500, "", vec![b'x'; 10_000]).told().len() < 300);
    }

    #[test]
    fn a_server_says_when() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:07Z").unwrap().to_utc();
        let after = |text| retry_after(text, now).map(|after| after.as_secs());
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it is over");
        assert_eq!(after("1000000"), Some(3600));
        assert_eq!(after("soon"), None);
        let mut answer = answer(503, "", "");
        answer.retry_after = Some("7".to_owned());
        assert_eq!(outcome(&answer), Outcome::Later { after: Some(Duration::from_secs(7)) });
    }
}
