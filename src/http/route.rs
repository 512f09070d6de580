//! A route as data: method, path, access rule, rate class, schemas, handler.

use actix_web::http::Method;
use actix_web::{FromRequest, Handler, Responder, web};
use utoipa::{PartialSchema, ToSchema};

use super::access::{AccessRule, RateClass};
use super::schema::SchemaRef;

/// A route of the server as data.
pub struct Route {
    pub method: Method,
    /// Path pattern; names of variable segments are in braces.
    pub path: &'static str,
    /// Access rule of the route.
    pub access: AccessRule,
    /// Rate limit class of the route.
    pub rate: RateClass,
    /// Short description for OpenAPI, without a full stop.
    pub summary: &'static str,
    /// Schema of the query parameters.
    pub query: Option<SchemaRef>,
    /// Schema of the body, and whether it is required.
    pub body: Option<(SchemaRef, bool)>,
    /// Media type of the body.
    pub body_type: &'static str,
    /// Status and schema of each success response.
    pub responses: Vec<(u16, Option<SchemaRef>)>,
    /// Whether OpenAPI omits the route.
    pub is_hidden: bool,
    /// Makes the actix-web route for a method.
    pub(super) build: Box<dyn Fn(Method) -> actix_web::Route>,
}

impl Route {
    fn new<H, A>(method: Method, path: &'static str, handler: H, access: AccessRule) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let build = Box::new(move |verb| web::method(verb).to(handler.clone()));
        Self {
            method,
            path,
            access,
            rate: RateClass::Api,
            summary: "",
            query: None,
            body: None,
            body_type: "application/json",
            responses: Vec::new(),
            is_hidden: false,
            build,
        }
    }

    /// With a rate class other than [`RateClass::Api`].
    pub(super) fn rate(mut self, rate: RateClass) -> Self {
        self.rate = rate;
        self
    }

    /// With a short description for OpenAPI.
    pub(super) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// With a JSON body that is required.
    pub(super) fn body<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), true));
        self
    }

    /// With a body of `multipart/form-data`.
    pub(super) fn form_body<T: ToSchema + PartialSchema>(self) -> Self {
        Self { body_type: "multipart/form-data", ..self.body::<T>() }
    }

    /// With a JSON body that may be left out.
    pub(super) fn optional_body<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), false));
        self
    }

    /// With query parameters.
    pub(super) fn query<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.query = Some(SchemaRef::of::<T>());
        self
    }

    /// With a success response that has a JSON body.
    pub(super) fn response<T: ToSchema + PartialSchema>(mut self, status: u16) -> Self {
        self.responses.push((status, Some(SchemaRef::of::<T>())));
        self
    }

    /// With a 200 response that is one page of a list.
    pub(super) fn list_response<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.responses.push((200, Some(SchemaRef::list_of::<T>())));
        self
    }

    /// With a success response without a JSON body.
    pub(super) fn empty_response(mut self, status: u16) -> Self {
        self.responses.push((status, None));
        self
    }

    /// Left out of OpenAPI.
    pub(super) fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
}

macro_rules! constructors {
    ($($name:ident = $method:ident),+) => {
        impl Route {$(
            #[doc = concat!("A route for ", stringify!($method), ".")]
            pub(super) fn $name<H, A>(path: &'static str, handler: H, access: AccessRule) -> Self
            where
                H: Handler<A>,
                A: FromRequest + 'static,
                H::Output: Responder + 'static,
            {
                Self::new(Method::$method, path, handler, access)
            }
        )+}
    };
}

constructors!(get = GET, post = POST, put = PUT, patch = PATCH, delete = DELETE, options = OPTIONS);
