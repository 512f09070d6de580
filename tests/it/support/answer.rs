//! What a server answered, and what a story expects of it.

use serde_json::Value;

/// An answer; a story says at once what it should have been.
#[derive(Debug)]
#[must_use = "say what the answer should be"]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// It was done: 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.status(200)
    }

    /// It was made: 201.
    #[track_caller]
    pub fn created(self) -> Value {
        self.status(201)
    }

    /// It was done and there is nothing to say: 204.
    #[track_caller]
    pub fn done(self) {
        self.status(204);
    }

    #[track_caller]
    pub fn status(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// It was refused with this status and this stable code, in the shape of a problem.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], status);
        for field in ["type", "title", "detail", "request_id"] {
            assert!(self.body[field].is_string(), "{field} is missing: {}", self.text);
        }
        self.body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
