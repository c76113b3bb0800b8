//! What the tests read of OTLP's messages, with numbers of their own: those of the output are judged by OpenTelemetry's types in
//! `judge.py`.

use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceLogs {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LogRecord {
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(string, tag = "1")]
    string: String,
}

/// `ExportLogsServiceResponse` with a partial success.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// The log records of a request, in order.
pub fn records(request: &[u8]) -> Vec<LogRecord> {
    let request = Request::decode(request).unwrap();
    let scopes = request.resources.into_iter().flat_map(|resource| resource.scopes);
    scopes.flat_map(|scope| scope.records).collect()
}

/// The answer that so many of a request were rejected.
pub fn rejected(rejected: i64) -> Vec<u8> {
    let partial_success = Some(PartialSuccess { rejected, message: "too old".to_owned() });
    Response { partial_success }.encode_to_vec()
}

impl LogRecord {
    /// The record of ours that it carries.
    pub fn record(&self) -> serde_json::Value {
        serde_json::from_str(&self.body.as_ref().unwrap().string).unwrap()
    }

    /// Its serial, where it is no loss.
    pub fn serial(&self) -> Option<u64> {
        let record = self.record();
        if record["type"] == "LOST" { None } else { record["serial"].as_u64() }
    }

    /// How many events it says were lost, where it is a loss.
    pub fn lost(&self) -> Option<u64> {
        self.record()["lost"].as_u64()
    }
}
