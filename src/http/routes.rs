//! Table of all routes: method, path, access rule, rate limit, schemas.

use std::collections::HashMap;

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Responder};
use utoipa::{PartialSchema, ToSchema};

use super::access::{AccessRule, RateClass};
use super::openapi::SchemaRef;
use super::{
    account_security, accounts, actors, api_tokens, calls, chat, contacts, files, health, invites,
    messages, nodes, openapi, pages, socket, uploads, user_admin,
};
use crate::protocol::ListQuery;
use crate::protocol::accounts as account;
use crate::protocol::admin;
use crate::protocol::calls as call;
use crate::protocol::chat as conversation;
use crate::protocol::contacts as contact;
use crate::protocol::files as file;
use crate::protocol::health::{Health, ProbeReply};
use crate::protocol::invites as invite;
use crate::protocol::messages as message;
use crate::protocol::presence;
use crate::protocol::user_admin as person;

/// All routes of the server.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    use RateClass::{Login, Probe as Unlimited, Registration};
    use AccessRule::{Admin, Anyone, LocalOrScope, Operator, User, UserOrScope};
    vec![
        // Accounts.
        post("/api/auth/register", accounts::register, Anyone).rate(Registration)
            .summary("Create an account").body::<account::Register>().response::<account::SignedIn>(201),
        post("/api/auth/login", accounts::login, Anyone).rate(Login)
            .summary("Sign a device in").body::<account::Login>().response::<account::SignedIn>(200),
        post("/api/auth/refresh", accounts::refresh, Anyone)
            .summary("Exchange a refresh token").body::<account::Refresh>().response::<account::SignedIn>(200),
        post("/api/auth/setup", accounts::set_up, Anyone).rate(Login)
            .summary("Create the first administrator").body::<account::SetupAdmin>().response::<account::SignedIn>(201),
        post("/api/auth/logout", accounts::logout, User).summary("Sign this device out").empty_response(204),
        get("/api/me", accounts::own_account, User).summary("Your account").response::<account::OwnAccount>(200),
        patch("/api/me", accounts::update_own_account, User)
            .summary("Change your account").body::<account::PatchMe>().response::<account::OwnAccount>(200),
        get("/api/me/devices", accounts::devices, User).summary("Your devices").response::<account::Devices>(200),
        delete("/api/me/devices/{id}", accounts::remove_device, User)
            .summary("Sign one of your devices out; its sockets close").empty_response(204),
        put("/api/me/password", account_security::change_password, User)
            .summary("Change your password; your other devices are signed out").body::<account::ChangePassword>().empty_response(204),
        post("/api/auth/reset", account_security::reset_password, Anyone).rate(Login)
            .summary("Set a new password with a token from an administrator").body::<account::ResetPassword>().empty_response(204),
        get("/api/me/totp", account_security::second_factor, User).summary("Your second factor").response::<account::SecondFactorStatus>(200),
        post("/api/me/totp", account_security::begin_second_factor, User).summary("Start the setup of a second factor")
            .body::<account::PasswordConfirmation>().response::<account::TotpSetup>(201),
        delete("/api/me/totp", account_security::drop_second_factor, User).summary("Disable your second factor")
            .body::<account::Reauthentication>().empty_response(204),
        post("/api/me/totp/confirm", account_security::confirm_second_factor, User).summary("Confirm the second factor with a first code")
            .body::<account::TotpCode>().response::<account::RecoveryCodes>(200),
        post("/api/me/totp/recovery-codes", account_security::renew_recovery_codes, User).summary("Replace all recovery codes")
            .body::<account::Reauthentication>().response::<account::RecoveryCodes>(200),
        get("/api/me/audit", account_security::audit, User).summary("Security events of your account, newest first")
            .query::<ListQuery>().list_response::<admin::AuditEntryView>(),
        get("/api/me/export", account_security::export, User)
            .summary("Download all your data as a ZIP archive; 202 until it is ready").response::<account::ExportPending>(202).empty_response(200),
        delete("/api/me", account_security::delete_own_account, User).summary("Delete your account").body::<account::Reauthentication>().empty_response(204),
        put("/api/me/status", contacts::set_status, User).summary("Set your presence status")
            .body::<presence::PutStatus>().empty_response(204),
        get("/.well-known/jwks.json", accounts::jwks, Anyone)
            .summary("The public keys of access tokens").response::<account::Jwks>(200),

        // Contacts.
        get("/api/contacts", contacts::list, User).summary("Your contacts and requests")
            .query::<ListQuery>().list_response::<contact::ContactView>(),
        post("/api/contacts", contacts::request, User).summary("Send a contact request")
            .body::<contact::RequestContact>().response::<contact::ContactRequested>(201),
        post("/api/contacts/match", contacts::match_address_book, User).summary("Find users by the numbers of an address book; numbers are not stored")
            .body::<contact::AddressBook>().response::<contact::ContactMatches>(200),
        post("/api/contacts/{user_id}/accept", contacts::accept, User).summary("Accept a contact request").empty_response(204),
        post("/api/contacts/{user_id}/refuse", contacts::refuse, User).summary("Decline a contact request").empty_response(204),
        delete("/api/contacts/{user_id}", contacts::remove, User).summary("Remove a contact or withdraw a request").empty_response(204),
        put("/api/contacts/{user_id}/block", contacts::block, User).summary("Block a user").empty_response(204),
        delete("/api/contacts/{user_id}/block", contacts::unblock, User).summary("Unblock a user").empty_response(204),

        // Chat.
        post("/api/conversations", chat::open, User).summary("Create a conversation; 200 if the direct one exists")
            .body::<conversation::CreateConversation>().response::<conversation::ConversationDetail>(201)
            .response::<conversation::ConversationDetail>(200),
        get("/api/conversations", chat::list, User).summary("Your conversations")
            .query::<ListQuery>().list_response::<conversation::ConversationSummary>(),
        get("/api/conversations/{id}", chat::get, User).summary("One conversation").response::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}", chat::change, User).summary("Change a group's title and other settings")
            .body::<conversation::PatchConversation>().response::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}/me", chat::update_member_settings, User).summary("Mute or archive a conversation for yourself")
            .body::<conversation::PatchMemberSettings>().response::<conversation::MemberSettings>(200),
        put("/api/conversations/{id}/members/{user_id}", chat::put_member, User)
            .summary("Add a member to a group, or change a role")
            .optional_body::<conversation::PutMember>().response::<conversation::ConversationDetail>(200),
        delete("/api/conversations/{id}/members/{user_id}", chat::remove_member, User)
            .summary("Remove a member from a group, or leave it").empty_response(204),
        post("/api/conversations/{id}/invites", invites::create, User).summary("Create an invite link to a group")
            .optional_body::<invite::CreateInvite>().response::<invite::CreatedInvite>(201),
        get("/api/conversations/{id}/invites", invites::list, User).summary("Valid invite links of a group")
            .list_response::<invite::InviteView>(),
        delete("/api/conversations/{id}/invites/{invite_id}", invites::revoke, User).summary("Revoke an invite link").empty_response(204),
        post("/api/invites/{token}", invites::join, User).rate(Login).summary("Join a group with an invite link")
            .response::<conversation::ConversationDetail>(200),

        // Messages.
        get("/api/conversations/{id}/messages", messages::list, User).summary("Messages of a conversation, by `seq`")
            .query::<message::MessagesQuery>().list_response::<message::MessageView>(),
        post("/api/conversations/{id}/messages", messages::send, User).summary("Send a message; 200 if it was stored before")
            .body::<message::PostMessage>().response::<message::MessageView>(201).response::<message::MessageView>(200),
        get("/api/conversations/{id}/messages/{message_id}", messages::get, User).summary("One message").response::<message::MessageView>(200),
        patch("/api/conversations/{id}/messages/{message_id}", messages::edit, User).summary("Edit your message")
            .body::<message::PatchMessage>().response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}", messages::delete, User).summary("Delete a message for yourself or for everybody")
            .query::<message::DeleteQuery>().empty_response(204),
        get("/api/conversations/{id}/messages/{message_id}/edits", messages::edits, User).summary("Earlier texts of a message").list_response::<message::MessageRevision>(),
        put("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::react, User).summary("React with an emoji").response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::unreact, User).summary("Remove a reaction").response::<message::MessageView>(200),
        put("/api/conversations/{id}/messages/{message_id}/pin", messages::pin, User).summary("Pin a message").response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/pin", messages::unpin, User).summary("Unpin a message").response::<message::MessageView>(200),
        get("/api/conversations/{id}/pins", messages::pins, User).summary("Pinned messages").list_response::<message::MessageView>(),
        get("/api/search", messages::search, User).summary("Search messages, newest first")
            .query::<message::SearchQuery>().list_response::<message::MessageView>(),

        // Files.
        post("/api/attachments", files::upload, User).summary("Upload a file, to be attached to a message")
            .form_body::<file::AttachmentForm>().response::<file::UploadedAttachment>(201),
        get("/api/attachments/{id}", files::download, User).summary("Download a file or one range of it; 206, 304 and 416 as in RFC 9110")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
        get("/api/attachments/{id}/thumbnail", files::thumbnail, User).summary("Thumbnail of a file (JPEG); ranges as for the file")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
        options("/api/uploads/", uploads::options, Anyone).summary("Capabilities of resumable uploads (tus 1.0)").empty_response(204),
        post("/api/uploads/", uploads::create, User).summary("Create a resumable upload (tus 1.0)").response::<file::UploadView>(201),
        get("/api/uploads/{id}", uploads::get, User).summary("State of an upload; HEAD as in tus")
            .response::<file::UploadView>(200),
        patch("/api/uploads/{id}", uploads::append, User)
            .summary("Append to an upload (tus 1.0); the header `Upload-Attachment` names the file once it is complete").empty_response(204),
        delete("/api/uploads/{id}", uploads::end, User).summary("Delete an upload (tus 1.0)").empty_response(204),

        // Calls.
        post("/api/call/token", calls::token, UserOrScope("calls:token")).summary("Create a token for one call")
            .body::<call::NewCallToken>().response::<call::CallToken>(200),
        get("/api/call/stats", calls::stats, UserOrScope("calls:token")).summary("Calls in progress")
            .response::<call::CallStats>(200),
        get("/api/calls", calls::history, User).summary("Your call history, newest first")
            .query::<ListQuery>().list_response::<call::PastCall>(),

        // Sockets.
        get("/ws", socket::connect_websocket, Anyone).summary("WebSocket; see the AsyncAPI document for events").empty_response(101),
        get("/socket.io/", socket::poll, Anyone).rate(Unlimited).summary("Socket.IO: handshake, polling, upgrade").hidden(),
        post("/socket.io/", socket::push, Anyone).rate(Unlimited).summary("Socket.IO: polling").hidden(),

        // Administration.
        get("/api/admin/actors", actors::list, Operator).summary("The supervision tree")
            .query::<admin::ActorsQuery>().response::<admin::ActorTreeView>(200),
        post("/api/admin/actors/{path:.+}/restart", actors::restart, Operator).summary("Restart an actor or supervisor").empty_response(204),
        post("/api/admin/actors/{path:.+}/stop", actors::stop, Operator).summary("Stop an actor or supervisor").empty_response(204),
        get("/api/admin/nodes", nodes::list, Operator).summary("The nodes of the cluster")
            .list_response::<admin::NodeView>(),
        post("/api/admin/nodes/{id}/drain", nodes::drain, Operator)
            .summary("Drain a node: hand over its calls and exit").empty_response(202),
        get("/api/admin/calls", calls::all, Operator).summary("Calls in progress with their participants")
            .list_response::<call::CallView>(),
        get("/api/admin/tokens", api_tokens::list, Admin).summary("API tokens")
            .query::<ListQuery>().list_response::<admin::ApiTokenView>(),
        post("/api/admin/tokens", api_tokens::create, Admin).summary("Create an API token")
            .body::<admin::CreateApiToken>().response::<admin::CreatedApiToken>(201),
        delete("/api/admin/tokens/{id}", api_tokens::revoke, Admin).summary("Revoke an API token").empty_response(204),
        get("/api/admin/audit", user_admin::audit, Admin).summary("The audit log, newest first")
            .query::<admin::AuditQuery>().list_response::<admin::AuditEntryView>(),
        get("/api/admin/jobs", user_admin::jobs, Operator).summary("Pending and recent background jobs, newest first")
            .query::<ListQuery>().list_response::<admin::JobView>(),
        get("/api/admin/users", user_admin::list, Admin).summary("Users").query::<person::PeopleQuery>().list_response::<person::UserAdminView>(),
        get("/api/admin/users/{user_id}", user_admin::get, Admin).summary("One user").response::<person::UserAdminView>(200),
        delete("/api/admin/users/{user_id}", user_admin::delete, Admin).summary("Delete a user's account").empty_response(204),
        put("/api/admin/users/{user_id}/suspension", user_admin::suspend, Admin).summary("Suspend a user; their sockets close").empty_response(204),
        delete("/api/admin/users/{user_id}/suspension", user_admin::unsuspend, Admin).summary("Lift a suspension").empty_response(204),
        put("/api/admin/users/{user_id}/role", user_admin::set_role, Admin).summary("Change a user's role")
            .body::<person::PutRole>().empty_response(204),
        get("/api/admin/users/{user_id}/devices", user_admin::devices, Admin).summary("Devices of a user").response::<account::Devices>(200),
        delete("/api/admin/users/{user_id}/devices", user_admin::sign_out, Admin).summary("Sign a user out everywhere").empty_response(204),
        delete("/api/admin/users/{user_id}/devices/{id}", user_admin::sign_out_device, Admin).summary("Sign one device of a user out").empty_response(204),
        post("/api/admin/users/{user_id}/reset", user_admin::reset, Admin).summary("Create a one-time password reset token")
            .optional_body::<person::CreatePasswordReset>().response::<person::CreatedPasswordReset>(201),

        // Operations.
        get("/health", health::health, Anyone).summary("Health of the server").response::<Health>(200).response::<Health>(503),
        get("/health/live", health::live, Anyone).rate(Unlimited).summary("Whether the process answers").response::<ProbeReply>(200),
        get("/health/ready", health::ready, Anyone).rate(Unlimited).summary("Whether the node accepts requests")
            .response::<ProbeReply>(200).response::<ProbeReply>(503),
        get("/metrics", health::metrics, LocalOrScope("metrics:read")).summary("Prometheus metrics").hidden(),

        // Documents and pages.
        get("/api/openapi.json", openapi::openapi, Anyone).summary("OpenAPI document").hidden(),
        get("/api/asyncapi.json", openapi::asyncapi, Anyone).summary("AsyncAPI document of the events").hidden(),
        get("/api/docs", pages::docs, Anyone).rate(Unlimited).summary("API documentation").hidden(),
        get("/", pages::home, Anyone).rate(Unlimited).summary("Start page").hidden(),
        get("/setup", pages::setup, Anyone).rate(Unlimited).summary("Create the first administrator").hidden(),
        get("/demo/chat", pages::chat, Anyone).rate(Unlimited).summary("Try the chat in a browser").hidden(),
        get("/demo/call", pages::call, Anyone).rate(Unlimited).summary("Try a call in a browser").hidden(),
        get("/assets/{file}", pages::asset, Anyone).rate(Unlimited).summary("Static files of the pages").hidden(),
    ]
}

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
    build: Box<dyn Fn(Method) -> actix_web::Route>,
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

    fn rate(mut self, rate: RateClass) -> Self {
        self.rate = rate;
        self
    }

    fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn body<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), true));
        self
    }

    fn form_body<T: ToSchema + PartialSchema>(self) -> Self {
        Self { body_type: "multipart/form-data", ..self.body::<T>() }
    }

    fn optional_body<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), false));
        self
    }

    fn query<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.query = Some(SchemaRef::of::<T>());
        self
    }

    fn response<T: ToSchema + PartialSchema>(mut self, status: u16) -> Self {
        self.responses.push((status, Some(SchemaRef::of::<T>())));
        self
    }

    fn list_response<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.responses.push((200, Some(SchemaRef::list_of::<T>())));
        self
    }

    fn empty_response(mut self, status: u16) -> Self {
        self.responses.push((status, None));
        self
    }

    fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
}

macro_rules! verbs {
    ($($name:ident = $method:ident),+) => {$(
        fn $name<H, A>(path: &'static str, handler: H, access: AccessRule) -> Route
        where
            H: Handler<A>,
            A: FromRequest + 'static,
            H::Output: Responder + 'static,
        {
            Route::new(Method::$method, path, handler, access)
        }
    )+};
}

verbs!(get = GET, post = POST, put = PUT, patch = PATCH, delete = DELETE, options = OPTIONS);

/// Access rules and rate classes by path and method.
pub struct AccessTable(HashMap<&'static str, Vec<(Method, AccessRule, RateClass)>>);

impl AccessTable {
    /// Builds the table from the routes.
    pub fn new(routes: &[Route]) -> Self {
        let mut table: HashMap<_, Vec<_>> = HashMap::new();
        for route in routes {
            let entry = (route.method.clone(), route.access, route.rate);
            table.entry(route.path).or_default().push(entry);
        }
        Self(table)
    }

    /// Access rule and rate class of a route; `None` if there is none. HEAD is treated as GET.
    pub(super) fn access(&self, method: &Method, path: &str) -> Option<(AccessRule, RateClass)> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let entry = self.0.get(path)?.iter().find(|(verb, ..)| verb == method);
        entry.map(|(_, rule, rate)| (*rule, *rate))
    }

    /// Methods of a path.
    pub(super) fn methods(&self, path: &str) -> Vec<Method> {
        let entries = self.0.get(path).into_iter().flatten();
        entries.map(|(method, ..)| method.clone()).collect()
    }
}

/// Registers all routes in an app.
pub(super) fn configure(config: &mut ServiceConfig) {
    let mut paths: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes() {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    for (path, routes) in paths {
        let resource = routes.iter().fold(web::resource(path), |resource, route| {
            let resource = resource.route((route.build)(route.method.clone()));
            if route.method == Method::GET {
                resource.route((route.build)(Method::HEAD))
            } else {
                resource
            }
        });
        config.service(resource);
    }
}
