//! The whole URL map on one page: method, path, who may call, how often, what goes in and out.

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

/// Every route of the server.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    use RateClass::{Login, Probe as Unlimited, Registration};
    use AccessRule::{Admin, Anyone, LocalOr, Operator, Person, PersonOr};
    vec![
        // Accounts.
        post("/api/auth/register", accounts::register, Anyone).rate(Registration)
            .summary("Make an account").body::<account::Register>().response::<account::SignedIn>(201),
        post("/api/auth/login", accounts::login, Anyone).rate(Login)
            .summary("Sign a device in").body::<account::Login>().response::<account::SignedIn>(200),
        post("/api/auth/refresh", accounts::refresh, Anyone)
            .summary("Exchange a refresh token").body::<account::Refresh>().response::<account::SignedIn>(200),
        post("/api/auth/setup", accounts::set_up, Anyone).rate(Login)
            .summary("Make the first administrator").body::<account::SetupAdmin>().response::<account::SignedIn>(201),
        post("/api/auth/logout", accounts::logout, Person).summary("Sign this device out").empty_response(204),
        get("/api/me", accounts::me, Person).summary("Your account").response::<account::OwnAccount>(200),
        patch("/api/me", accounts::change_me, Person)
            .summary("Change your account").body::<account::PatchMe>().response::<account::OwnAccount>(200),
        get("/api/me/devices", accounts::devices, Person).summary("Your devices").response::<account::Devices>(200),
        delete("/api/me/devices/{id}", accounts::remove_device, Person)
            .summary("Sign one of your devices out; its sockets close").empty_response(204),
        put("/api/me/password", account_security::change_password, Person)
            .summary("Change your password; your other devices are signed out").body::<account::ChangePassword>().empty_response(204),
        post("/api/auth/reset", account_security::reset_password, Anyone).rate(Login)
            .summary("Choose a new password with a token that an administrator gave").body::<account::ResetPassword>().empty_response(204),
        get("/api/me/totp", account_security::second_factor, Person).summary("Your second factor").response::<account::SecondFactorStatus>(200),
        post("/api/me/totp", account_security::begin_second_factor, Person).summary("Begin to set up a second factor")
            .body::<account::PasswordConfirmation>().response::<account::TotpSetup>(201),
        delete("/api/me/totp", account_security::drop_second_factor, Person).summary("Switch your second factor off")
            .body::<account::Reauthentication>().empty_response(204),
        post("/api/me/totp/confirm", account_security::confirm_second_factor, Person).summary("Confirm your second factor with a first code")
            .body::<account::TotpCode>().response::<account::RecoveryCodes>(200),
        post("/api/me/totp/recovery-codes", account_security::renew_recovery_codes, Person).summary("New recovery codes in place of the old")
            .body::<account::Reauthentication>().response::<account::RecoveryCodes>(200),
        get("/api/me/audit", account_security::audit, Person).summary("What concerned your security, newest first")
            .query::<ListQuery>().list_response::<admin::AuditEntryView>(),
        get("/api/me/export", account_security::export, Person)
            .summary("Everything of yours as a ZIP archive; 202 until it is ready").response::<account::ExportPending>(202).empty_response(200),
        delete("/api/me", account_security::delete_me, Person).summary("End your account").body::<account::Reauthentication>().empty_response(204),
        put("/api/me/status", contacts::set_status, Person).summary("What your contacts see of you")
            .body::<presence::PutStatus>().empty_response(204),
        get("/.well-known/jwks.json", accounts::jwks, Anyone)
            .summary("The public keys of access tokens").response::<account::Jwks>(200),

        // Contacts.
        get("/api/contacts", contacts::list, Person).summary("Your contacts and requests")
            .query::<ListQuery>().list_response::<contact::ContactView>(),
        post("/api/contacts", contacts::request, Person).summary("Ask somebody to become a contact")
            .body::<contact::RequestContact>().response::<contact::ContactRequested>(201),
        post("/api/contacts/match", contacts::look_up, Person).summary("Who of an address book is here; nothing of it is kept")
            .body::<contact::AddressBook>().response::<contact::ContactMatches>(200),
        post("/api/contacts/{user_id}/accept", contacts::accept, Person).summary("Agree to a request").empty_response(204),
        post("/api/contacts/{user_id}/refuse", contacts::refuse, Person).summary("Decline a request").empty_response(204),
        delete("/api/contacts/{user_id}", contacts::remove, Person).summary("End a contact or take a request back").empty_response(204),
        put("/api/contacts/{user_id}/block", contacts::block, Person).summary("Keep somebody away").empty_response(204),
        delete("/api/contacts/{user_id}/block", contacts::unblock, Person).summary("Let somebody come near again").empty_response(204),

        // Chat.
        post("/api/conversations", chat::open, Person).summary("Open a conversation; 200 if the direct one exists")
            .body::<conversation::CreateConversation>().response::<conversation::ConversationDetail>(201)
            .response::<conversation::ConversationDetail>(200),
        get("/api/conversations", chat::list, Person).summary("Your conversations")
            .query::<ListQuery>().list_response::<conversation::ConversationSummary>(),
        get("/api/conversations/{id}", chat::get, Person).summary("One conversation").response::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}", chat::change, Person).summary("Change a group's title and other settings")
            .body::<conversation::PatchConversation>().response::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}/me", chat::keep, Person).summary("Mute or archive a conversation, for yourself")
            .body::<conversation::PatchMemberSettings>().response::<conversation::MemberSettings>(200),
        put("/api/conversations/{id}/members/{user_id}", chat::put_member, Person)
            .summary("Put somebody into a group, or change their role")
            .optional_body::<conversation::PutMember>().response::<conversation::ConversationDetail>(200),
        delete("/api/conversations/{id}/members/{user_id}", chat::remove_member, Person)
            .summary("Remove somebody from a group, or leave it").empty_response(204),
        post("/api/conversations/{id}/invites", invites::create, Person).summary("Make a link with which people join a group")
            .optional_body::<invite::CreateInvite>().response::<invite::CreatedInvite>(201),
        get("/api/conversations/{id}/invites", invites::list, Person).summary("A group's links that are still good")
            .list_response::<invite::InviteView>(),
        delete("/api/conversations/{id}/invites/{invite_id}", invites::revoke, Person).summary("Take a link back").empty_response(204),
        post("/api/invites/{token}", invites::join, Person).rate(Login).summary("Join a group")
            .response::<conversation::ConversationDetail>(200),

        // Messages.
        get("/api/conversations/{id}/messages", messages::list, Person).summary("What was said, by `seq`")
            .query::<message::MessagesQuery>().list_response::<message::MessageView>(),
        post("/api/conversations/{id}/messages", messages::send, Person).summary("Say something; 200 if it was said before")
            .body::<message::PostMessage>().response::<message::MessageView>(201).response::<message::MessageView>(200),
        get("/api/conversations/{id}/messages/{message_id}", messages::get, Person).summary("One message").response::<message::MessageView>(200),
        patch("/api/conversations/{id}/messages/{message_id}", messages::edit, Person).summary("Have a message of yours say something else")
            .body::<message::PatchMessage>().response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}", messages::delete, Person).summary("Delete a message, for yourself or for everybody")
            .query::<message::DeleteQuery>().empty_response(204),
        get("/api/conversations/{id}/messages/{message_id}/edits", messages::edits, Person).summary("What a message said before").list_response::<message::MessageRevision>(),
        put("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::react, Person).summary("React with an emoji").response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::unreact, Person).summary("Take a reaction back").response::<message::MessageView>(200),
        put("/api/conversations/{id}/messages/{message_id}/pin", messages::pin, Person).summary("Pin a message").response::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/pin", messages::unpin, Person).summary("Pin a message no longer").response::<message::MessageView>(200),
        get("/api/conversations/{id}/pins", messages::pins, Person).summary("What is pinned").list_response::<message::MessageView>(),
        get("/api/search", messages::search, Person).summary("Messages that have these words, what was said last first")
            .query::<message::SearchQuery>().list_response::<message::MessageView>(),

        // Files.
        post("/api/attachments", files::upload, Person).summary("Send a file; a message can carry it then")
            .takes_form::<file::AttachmentForm>().response::<file::UploadedAttachment>(201),
        get("/api/attachments/{id}", files::download, Person).summary("A file, whole or one range of it; 206, 304 and 416 as in RFC 9110")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
        get("/api/attachments/{id}/thumbnail", files::thumbnail, Person).summary("A small picture of a file (JPEG), given like the file")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
        options("/api/uploads/", uploads::options, Anyone).summary("What resumable uploads (tus 1.0) this server can").empty_response(204),
        post("/api/uploads/", uploads::create, Person).summary("Begin a resumable upload (tus 1.0)").response::<file::UploadView>(201),
        get("/api/uploads/{id}", uploads::get, Person).summary("How far an upload is, and what became of it; HEAD as tus has it")
            .response::<file::UploadView>(200),
        patch("/api/uploads/{id}", uploads::append, Person)
            .summary("Go on with an upload (tus 1.0); `Upload-Attachment` names the file once it is whole").empty_response(204),
        delete("/api/uploads/{id}", uploads::end, Person).summary("End an upload (tus 1.0)").empty_response(204),

        // Calls.
        post("/api/call/token", calls::token, PersonOr("calls:token")).summary("A token that opens one call")
            .body::<call::NewCallToken>().response::<call::CallToken>(200),
        get("/api/call/stats", calls::stats, PersonOr("calls:token")).summary("The calls that go on")
            .response::<call::CallStats>(200),
        get("/api/calls", calls::history, Person).summary("Your calls, the newest first")
            .query::<ListQuery>().list_response::<call::PastCall>(),

        // Sockets.
        get("/ws", socket::connect_websocket, Anyone).summary("WebSocket; see the description of events").empty_response(101),
        get("/socket.io/", socket::poll, Anyone).rate(Unlimited).summary("Socket.IO: handshake, polling, upgrade").hidden(),
        post("/socket.io/", socket::push, Anyone).rate(Unlimited).summary("Socket.IO: polling").hidden(),

        // Administration.
        get("/api/admin/actors", actors::list, Operator).summary("The supervision tree")
            .query::<admin::ActorsQuery>().response::<admin::ActorTreeView>(200),
        post("/api/admin/actors/{path:.+}/restart", actors::restart, Operator).summary("Restart a branch of the tree").empty_response(204),
        post("/api/admin/actors/{path:.+}/stop", actors::stop, Operator).summary("Stop a branch of the tree").empty_response(204),
        get("/api/admin/nodes", nodes::list, Operator).summary("The nodes of the cluster")
            .list_response::<admin::NodeView>(),
        post("/api/admin/nodes/{id}/drain", nodes::drain, Operator)
            .summary("Have a node hand over its calls and leave").empty_response(202),
        get("/api/admin/calls", calls::all, Operator).summary("The calls that go on, with everybody in them")
            .list_response::<call::CallView>(),
        get("/api/admin/tokens", api_tokens::list, Admin).summary("API tokens")
            .query::<ListQuery>().list_response::<admin::ApiTokenView>(),
        post("/api/admin/tokens", api_tokens::create, Admin).summary("Make an API token")
            .body::<admin::CreateApiToken>().response::<admin::CreatedApiToken>(201),
        delete("/api/admin/tokens/{id}", api_tokens::revoke, Admin).summary("Take an API token back").empty_response(204),
        get("/api/admin/audit", user_admin::audit, Admin).summary("The audit log, newest first")
            .query::<admin::AuditQuery>().list_response::<admin::AuditEntryView>(),
        get("/api/admin/jobs", user_admin::jobs, Operator).summary("Work to be done, and done lately, newest first")
            .query::<ListQuery>().list_response::<admin::JobView>(),
        get("/api/admin/users", user_admin::list, Admin).summary("People").query::<person::PeopleQuery>().list_response::<person::UserAdminView>(),
        get("/api/admin/users/{user_id}", user_admin::get, Admin).summary("One person").response::<person::UserAdminView>(200),
        delete("/api/admin/users/{user_id}", user_admin::delete, Admin).summary("End somebody's account").empty_response(204),
        put("/api/admin/users/{user_id}/suspension", user_admin::suspend, Admin).summary("Keep somebody out; their sockets close").empty_response(204),
        delete("/api/admin/users/{user_id}/suspension", user_admin::unsuspend, Admin).summary("Let somebody in again").empty_response(204),
        put("/api/admin/users/{user_id}/role", user_admin::set_role, Admin).summary("Change what somebody may do")
            .body::<person::PutRole>().empty_response(204),
        get("/api/admin/users/{user_id}/devices", user_admin::devices, Admin).summary("Somebody's devices").response::<account::Devices>(200),
        delete("/api/admin/users/{user_id}/devices", user_admin::sign_out, Admin).summary("Sign somebody out everywhere").empty_response(204),
        delete("/api/admin/users/{user_id}/devices/{id}", user_admin::sign_out_device, Admin).summary("Sign one of somebody's devices out").empty_response(204),
        post("/api/admin/users/{user_id}/reset", user_admin::reset, Admin).summary("A one-time token with which somebody chooses a new password")
            .optional_body::<person::CreatePasswordReset>().response::<person::CreatedPasswordReset>(201),

        // Running it.
        get("/health", health::health, Anyone).summary("How the server is").response::<Health>(200).response::<Health>(503),
        get("/health/live", health::live, Anyone).rate(Unlimited).summary("Whether the process answers").response::<ProbeReply>(200),
        get("/health/ready", health::ready, Anyone).rate(Unlimited).summary("Whether it should get requests")
            .response::<ProbeReply>(200).response::<ProbeReply>(503),
        get("/metrics", health::metrics, LocalOr("metrics:read")).summary("Prometheus metrics").hidden(),

        // Documents and pages.
        get("/api/openapi.json", openapi::openapi, Anyone).summary("This description").hidden(),
        get("/api/asyncapi.json", openapi::asyncapi, Anyone).summary("The description of events").hidden(),
        get("/api/docs", pages::docs, Anyone).rate(Unlimited).summary("Both descriptions, to read").hidden(),
        get("/", pages::home, Anyone).rate(Unlimited).summary("Where to go from here").hidden(),
        get("/setup", pages::setup, Anyone).rate(Unlimited).summary("Make the first administrator").hidden(),
        get("/demo/chat", pages::chat, Anyone).rate(Unlimited).summary("Try the chat in a browser").hidden(),
        get("/demo/call", pages::call, Anyone).rate(Unlimited).summary("Try a call in a browser").hidden(),
        get("/assets/{file}", pages::asset, Anyone).rate(Unlimited).summary("What the pages need").hidden(),
    ]
}

/// One route, as data.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with names for its variable parts.
    pub path: &'static str,
    /// Who may call it.
    pub who: AccessRule,
    /// How often.
    pub rate: RateClass,
    /// What it does, in a sentence without a full stop.
    pub summary: &'static str,
    /// The shape of the query string.
    pub query: Option<SchemaRef>,
    /// The shape of the body, and whether it must be there.
    pub body: Option<(SchemaRef, bool)>,
    /// How the body is written.
    pub body_type: &'static str,
    /// What it answers when it is done.
    pub answers: Vec<(u16, Option<SchemaRef>)>,
    /// Whether the description leaves it out.
    pub is_hidden: bool,
    serve: Box<dyn Fn(Method) -> actix_web::Route>,
}

impl Route {
    fn new<H, A>(method: Method, path: &'static str, handler: H, who: AccessRule) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let serve = Box::new(move |verb| web::method(verb).to(handler.clone()));
        Self {
            method,
            path,
            who,
            rate: RateClass::Api,
            summary: "",
            query: None,
            body: None,
            body_type: "application/json",
            answers: Vec::new(),
            is_hidden: false,
            serve,
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

    fn takes_form<T: ToSchema + PartialSchema>(self) -> Self {
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
        self.answers.push((status, Some(SchemaRef::of::<T>())));
        self
    }

    fn list_response<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.answers.push((200, Some(SchemaRef::list_of::<T>())));
        self
    }

    fn empty_response(mut self, status: u16) -> Self {
        self.answers.push((status, None));
        self
    }

    fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
}

macro_rules! verbs {
    ($($name:ident = $method:ident),+) => {$(
        fn $name<H, A>(path: &'static str, handler: H, who: AccessRule) -> Route
        where
            H: Handler<A>,
            A: FromRequest + 'static,
            H::Output: Responder + 'static,
        {
            Route::new(Method::$method, path, handler, who)
        }
    )+};
}

verbs!(get = GET, post = POST, put = PUT, patch = PATCH, delete = DELETE, options = OPTIONS);

/// Who may call what, by method and path.
pub struct AccessTable(HashMap<&'static str, Vec<(Method, AccessRule, RateClass)>>);

impl AccessTable {
    /// The table of these routes.
    pub fn new(routes: &[Route]) -> Self {
        let mut table: HashMap<_, Vec<_>> = HashMap::new();
        for route in routes {
            let entry = (route.method.clone(), route.who, route.rate);
            table.entry(route.path).or_default().push(entry);
        }
        Self(table)
    }

    /// Who may call it and how often; `None` if there is no such route. HEAD is a GET without
    /// the body.
    pub(super) fn access(&self, method: &Method, path: &str) -> Option<(AccessRule, RateClass)> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.0.get(path)?.iter().find(|(verb, ..)| verb == method);
        found.map(|(_, who, rate)| (*who, *rate))
    }

    /// The methods of a path.
    pub(super) fn methods(&self, path: &str) -> Vec<Method> {
        let entries = self.0.get(path).into_iter().flatten();
        entries.map(|(method, ..)| method.clone()).collect()
    }
}

/// Puts the routes into an app.
pub(super) fn serve(config: &mut ServiceConfig) {
    let mut paths: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes() {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    for (path, routes) in paths {
        let resource = routes.iter().fold(web::resource(path), |resource, route| {
            let resource = resource.route((route.serve)(route.method.clone()));
            if route.method == Method::GET {
                resource.route((route.serve)(Method::HEAD))
            } else {
                resource
            }
        });
        config.service(resource);
    }
}
