//! What is said of an operation where the table of routes names it: who may call it, what it takes, what it answers. Never
//! says how an error looks: that comes from the error itself.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::errors::{self, codes};

/// Who may call an operation, and how they show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Access {
    /// Anyone; nobody is asked who they are.
    Anyone,
    /// A voter by a token, else the device.
    Voter,
    /// As a voter; without a token the device is known by its cookie alone.
    Known,
    /// A voter, or an operator.
    VoterOrAdmin,
    /// An operator.
    Admin,
    /// Whoever drains the queue by the clock.
    Cron,
    /// An app's server, by its signature.
    App,
    /// An app's viewer, by its key in the path.
    Viewer,
}

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) schema: Value,
    pub(super) text: &'static str,
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A JSON body that is taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) required: bool,
    pub(super) schema: SchemaOf,
}

/// What an answer's body is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Nothing,
    Json(SchemaOf),
    Other(&'static str),
}

/// An answer that is no error.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) content: Content,
    pub(super) headers: Vec<&'static str>,
}

/// What is said of an operation.
#[derive(Clone, Debug)]
pub(in crate::http) struct About {
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) text: &'static str,
    pub(super) group: &'static str,
    pub(super) access: Access,
    pub(super) params: Vec<Param>,
    pub(super) taken: Option<Taken>,
    pub(super) given: Vec<Given>,
    pub(super) codes: Vec<&'static str>,
}

/// An operation of a group, by the name that generated clients give it.
pub(in crate::http) fn about(group: &'static str, id: &'static str, access: Access, summary: &'static str) -> About {
    let mut codes = errors::EVERYWHERE.to_vec();
    codes.extend(match access {
        Access::Anyone | Access::Viewer => &[][..],
        Access::Voter | Access::VoterOrAdmin => &[codes::INVALID_TOKEN],
        Access::Known => &[codes::INVALID_TOKEN, codes::UNAUTHORIZED],
        Access::Admin | Access::Cron => &[codes::UNAUTHORIZED],
        Access::App => &[codes::INVALID_SIGNATURE, codes::FORBIDDEN, codes::INVALID_PARAMETER, codes::NOT_FOUND],
    });
    About { id, summary, text: "", group, access, params: Vec::new(), taken: None, given: Vec::new(), codes }
}

impl About {
    /// More than the summary says.
    pub(in crate::http) fn says(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// A part of the path.
    pub(in crate::http) fn path(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.param(Param { name, place: Place::Path, required: true, schema, text })
    }

    /// A value of the query that may be left out.
    pub(in crate::http) fn query(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.param(Param { name, place: Place::Query, required: false, schema, text })
    }

    /// A value of the query that must be there.
    pub(in crate::http) fn needs(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.param(Param { name, place: Place::Query, required: true, schema, text })
    }

    /// A header of the request that may be left out.
    pub(in crate::http) fn header(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.param(Param { name, place: Place::Header, required: false, schema, text })
    }

    /// The season and the slot of the path.
    pub(in crate::http) fn slot(self) -> Self {
        let this =
            self.path("season", season_id(), "The season's id.").path("position", position(), "The slot's position.");
        this.refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND])
    }

    /// A key under which a retry gets the first answer again.
    pub(in crate::http) fn idempotent(self) -> Self {
        let text = "The same key with the same body gets the first answer again, for five minutes at least.";
        self.header("Idempotency-Key", json!({ "type": "string", "pattern": "^[!-~]{1,255}$" }), text)
            .refuses(&[codes::IDEMPOTENCY_KEY_REUSED])
    }

    /// An answer that the client may have already.
    pub(in crate::http) fn cached(self) -> Self {
        let text = "The ETag of what the client has.";
        let mut this = self.header("If-None-Match", text_of(), text).with(&["Cache-Control", "ETag", "Vary"]);
        this.given.push(Given {
            status: 304,
            text: "The client has it.",
            content: Content::Nothing,
            headers: this.given.last().expect("an answer comes first").headers.clone(),
        });
        this
    }

    /// A JSON body that must be there.
    pub(in crate::http) fn takes<T: JsonSchema>(self) -> Self {
        self.body::<T>(true)
    }

    /// A JSON body that may be left out.
    pub(in crate::http) fn may_take<T: JsonSchema>(self) -> Self {
        self.body::<T>(false)
    }

    /// An answer in JSON.
    pub(in crate::http) fn gives<T: JsonSchema>(self, status: u16, text: &'static str) -> Self {
        self.answer(status, text, Content::Json(SchemaGenerator::subschema_for::<T>))
    }

    /// An answer of another kind.
    pub(in crate::http) fn gives_other(self, status: u16, content_type: &'static str, text: &'static str) -> Self {
        self.answer(status, text, Content::Other(content_type))
    }

    /// An answer without a body.
    pub(in crate::http) fn gives_nothing(self, status: u16, text: &'static str) -> Self {
        self.answer(status, text, Content::Nothing)
    }

    /// Headers of the latest answer, beside those that every answer has.
    pub(in crate::http) fn with(mut self, headers: &[&'static str]) -> Self {
        self.given.last_mut().expect("an answer comes first").headers.extend(headers);
        self
    }

    /// Codes that it can be refused with.
    pub(in crate::http) fn refuses(mut self, codes: &[&'static str]) -> Self {
        for code in codes {
            assert!(errors::is_code(code), "{code} is no code of a Reject");
            if !self.codes.contains(code) {
                self.codes.push(code);
            }
        }
        self
    }

    fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self.refuses(&[codes::INVALID_PARAMETER])
    }

    fn body<T: JsonSchema>(mut self, required: bool) -> Self {
        self.taken = Some(Taken { required, schema: SchemaGenerator::subschema_for::<T> });
        self.refuses(&[codes::INVALID_JSON, codes::BODY_TOO_LARGE, codes::UNSUPPORTED_MEDIA_TYPE])
    }

    fn answer(mut self, status: u16, text: &'static str, content: Content) -> Self {
        self.given.push(Given { status, text, content, headers: Vec::new() });
        self
    }
}

/// Any text.
pub(in crate::http) fn text_of() -> Value {
    json!({ "type": "string" })
}

/// A season's id.
pub(in crate::http) fn season_id() -> Value {
    id("demo")
}

/// A clip's id.
pub(in crate::http) fn clip_id() -> Value {
    id("clip-1")
}

/// Clips' ids, separated by commas.
pub(in crate::http) fn clip_ids() -> Value {
    json!({ "type": "string", "examples": ["clip-1,clip-2"] })
}

fn id(example: &str) -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_.=@-]{1,100}$", "examples": [example] })
}

/// A number that is written as text: a comment's id, a sequence.
pub(in crate::http) fn digits() -> Value {
    json!({ "type": "string", "pattern": "^[1-9][0-9]{0,18}$" })
}

/// A slot's position.
pub(in crate::http) fn position() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX, "examples": [1] })
}

/// How much a page has.
pub(in crate::http) fn up_to(most: u32, default: u32) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default })
}

/// Where a page before ended.
pub(in crate::http) fn cursor() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// One of these.
pub(in crate::http) fn one_of(values: &[&str]) -> Value {
    json!({ "type": "string", "enum": values })
}
