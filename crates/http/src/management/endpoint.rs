//! What a management route says of itself: who may ask, what goes in, what comes out.
//!
//! The router, the API's description and the table that tests walk are all made from it, so that none of them can tell
//! another story. A route without a demand can't be written down.

use http::{Method, StatusCode};
use keyward_core::management_right::ManagementRight;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Ref, Schema};
use utoipa::{PartialSchema as _, ToSchema};

/// What a route asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A right in the organization that the request is about.
    Right(ManagementRight),
    /// To be signed in, with whatever rights.
    Identity,
    /// Nothing: what the request carries says who may send it.
    Nothing,
}

impl From<ManagementRight> for Demand {
    fn from(right: ManagementRight) -> Self {
        Self::Right(right)
    }
}

impl Demand {
    /// The right's name; `-` where none is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Right(right) => right.name(),
            Self::Identity | Self::Nothing => "-",
        }
    }
}

/// The chapter of the description that a route stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// Secret keys.
    Keys,
    /// What keys are used for.
    Usage,
    /// Questions about keys.
    Verify,
    /// Organizations.
    Organizations,
    /// People and invitations.
    People,
    /// Management tokens, and who the caller is.
    Tokens,
    /// The audit trail.
    Audit,
    /// What only the local administrator does.
    Installation,
}

impl Tag {
    /// Every chapter, in the order of the description.
    pub const ALL: [Self; 8] = [
        Self::Keys,
        Self::Usage,
        Self::Verify,
        Self::Organizations,
        Self::People,
        Self::Tokens,
        Self::Audit,
        Self::Installation,
    ];

    /// The chapter's heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Keys => "Secret keys",
            Self::Usage => "Usage",
            Self::Verify => "Verify",
            Self::Organizations => "Organizations",
            Self::People => "People",
            Self::Tokens => "Management tokens",
            Self::Audit => "Audit trail",
            Self::Installation => "Installation",
        }
    }

    /// What stands in it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Keys => "Create, show and end the secret keys of an organization.",
            Self::Usage => "Who used which key for what, from where, and what follows from it.",
            Self::Verify => "Whether a key is accepted, and whether it may do something.",
            Self::Organizations => "The organizations of this installation and their settings.",
            Self::People => "Who belongs to an organization, and in which role.",
            Self::Tokens => "The tokens that this API is used with, and who a caller is.",
            Self::Audit => "Who did what, as a chain that can be proved without this server.",
            Self::Installation => "What concerns no single organization. No token and no role reaches it.",
        }
    }
}

/// A type as the description refers to it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> String,
    /// The schema and those that it refers to, by name.
    pub(super) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    pub(super) fn of<T: ToSchema>() -> Self {
        Self {
            name: || T::name().into_owned(),
            collect: |into| {
                into.push((T::name().into_owned(), T::schema()));
                T::schemas(into);
            },
        }
    }

    pub(super) fn reference(self) -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name((self.name)()))
    }
}

/// A request's body.
#[derive(Clone, Copy)]
pub(super) struct BodyShape {
    pub(super) shape: Shape,
    pub(super) is_required: bool,
}

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(super) struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> RefOr<Schema>,
}

/// A header that a request may or has to carry.
#[derive(Clone, Copy)]
pub(super) struct HeaderParameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) is_required: bool,
}

/// A route's description. Begun with [`Endpoint::get`] or [`Endpoint::post`], ended by `ManagementRoutes::add`.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) demand: Demand,
    pub(super) tag: Tag,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Vec<QueryParameter>,
    pub(super) headers: Vec<HeaderParameter>,
    pub(super) body: Option<BodyShape>,
    pub(super) answer: Option<(StatusCode, Shape)>,
    /// The form in which it answers.
    pub(super) answer_form: &'static str,
    /// Problems beside those that every route of its kind can answer.
    pub(super) refusals: Vec<u16>,
    pub(super) is_throttled: bool,
    /// Whether the answer is there as CSV and JSON Lines, too.
    pub(super) is_exported: bool,
}

impl Endpoint {
    /// A route that shows something.
    pub(super) fn get(path: &'static str, demand: impl Into<Demand>) -> Self {
        Self::new(Method::GET, path, demand.into())
    }

    /// A route that does something.
    pub(super) fn post(path: &'static str, demand: impl Into<Demand>) -> Self {
        Self::new(Method::POST, path, demand.into())
    }

    /// A route of any method.
    pub(super) const fn new(method: Method, path: &'static str, demand: Demand) -> Self {
        Self {
            method,
            path,
            demand,
            tag: Tag::Installation,
            id: "",
            summary: "",
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            answer: None,
            answer_form: "application/json",
            refusals: Vec::new(),
            is_throttled: true,
            is_exported: false,
        }
    }

    /// Its chapter, its name for programs, and what it does in a few words.
    pub(super) fn named(self, tag: Tag, id: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            id,
            summary,
            ..self
        }
    }

    /// The body that it reads with `ManagementCall::fields`.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        self.body = Some(BodyShape {
            shape: Shape::of::<T>(),
            is_required: true,
        });
        self
    }

    /// The body that it reads with `ManagementCall::optional_fields`.
    pub(super) fn may_take<T: ToSchema>(mut self) -> Self {
        self.body = Some(BodyShape {
            shape: Shape::of::<T>(),
            is_required: false,
        });
        self
    }

    /// One more parameter of its query.
    pub(super) fn asks(
        mut self,
        name: &'static str,
        description: &'static str,
        schema: fn() -> RefOr<Schema>,
    ) -> Self {
        self.query.push(QueryParameter {
            name,
            description,
            schema,
        });
        self
    }

    /// Lists page by page, with `cursor` and `limit`.
    pub(super) fn pages(self) -> Self {
        self.asks(
            "cursor",
            "Where to go on: `next` of the page before.",
            String::schema,
        )
        .asks(
            "limit",
            "At most so many items, from 1 to 1000; 100 if absent.",
            super::openapi::limit,
        )
    }

    /// Reads `If-Match` with `ManagementCall::required_version`.
    pub(super) fn edits_a_version(self) -> Self {
        self.with_header(HeaderParameter {
            name: "If-Match",
            description: "The ETag of what was read and is edited, or `*` for whatever is there.",
            is_required: true,
        })
        .may_refuse(&[412, 428])
    }

    /// Reads `If-Match` with `ManagementCall::expected_version`.
    pub(super) fn may_expect_a_version(self) -> Self {
        self.with_header(HeaderParameter {
            name: "If-Match",
            description: "The ETag of what was read; another version is refused then.",
            is_required: false,
        })
        .may_refuse(&[412, 428])
    }

    /// Can be repeated with the same `Idempotency-Key`, which `ManagementCall::attempt` reads.
    pub(super) fn repeatable(self) -> Self {
        self.with_header(HeaderParameter {
            name: "Idempotency-Key",
            description: "A random text of 22 to 255 characters. The same request with the same one is done once; for ten \
                          minutes it is answered with the same value.",
            is_required: false,
        })
        .may_refuse(&[409, 422])
    }

    fn with_header(mut self, header: HeaderParameter) -> Self {
        self.headers.push(header);
        self
    }

    /// What it answers where all is well.
    pub(super) fn answers<T: ToSchema>(mut self, status: StatusCode) -> Self {
        self.answer = Some((status, Shape::of::<T>()));
        self
    }

    /// Answers in another form than JSON.
    pub(super) fn in_form(mut self, content_type: &'static str) -> Self {
        self.answer_form = content_type;
        self
    }

    /// Statuses of problems that are not every route's: 409, 410, 412, 428.
    pub(super) fn may_refuse(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend_from_slice(statuses);
        self
    }

    /// Takes nothing from the bucket of the caller's token.
    pub(super) fn unthrottled(mut self) -> Self {
        self.is_throttled = false;
        self
    }

    /// Every status that it can answer, in order.
    pub(super) fn statuses(&self) -> Vec<u16> {
        let mut statuses = vec![400, 500, 503];
        statuses.extend(self.answer.map(|(status, _)| status.as_u16()));
        match self.demand {
            // What another organization's is, or a Member may not know of, is not there.
            Demand::Right(_) => statuses.extend([401, 403, 404]),
            Demand::Identity => statuses.extend([401, 403]),
            Demand::Nothing => {}
        }
        if self.body.is_some() {
            statuses.extend([413, 422]);
        }
        if !self.query.is_empty() {
            statuses.push(422);
        }
        if self.is_throttled {
            statuses.push(429);
        }
        statuses.extend_from_slice(&self.refusals);
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// The names of the path's parameters.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}
