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
            .says("Make an account").takes::<account::Register>().gives::<account::SignedIn>(201),
        post("/api/auth/login", accounts::login, Anyone).rate(Login)
            .says("Sign a device in").takes::<account::Login>().gives::<account::SignedIn>(200),
        post("/api/auth/refresh", accounts::refresh, Anyone)
            .says("Exchange a refresh token").takes::<account::Refresh>().gives::<account::SignedIn>(200),
        post("/api/auth/setup", accounts::set_up, Anyone).rate(Login)
            .says("Make the first administrator").takes::<account::SetupAdmin>().gives::<account::SignedIn>(201),
        post("/api/auth/logout", accounts::logout, Person).says("Sign this device out").done(204),
        get("/api/me", accounts::me, Person).says("Your account").gives::<account::OwnAccount>(200),
        patch("/api/me", accounts::change_me, Person)
            .says("Change your account").takes::<account::PatchMe>().gives::<account::OwnAccount>(200),
        get("/api/me/devices", accounts::devices, Person).says("Your devices").gives::<account::Devices>(200),
        delete("/api/me/devices/{id}", accounts::remove_device, Person)
            .says("Sign one of your devices out; its sockets close").done(204),
        put("/api/me/password", account_security::change_password, Person)
            .says("Change your password; your other devices are signed out").takes::<account::ChangePassword>().done(204),
        post("/api/auth/reset", account_security::reset_password, Anyone).rate(Login)
            .says("Choose a new password with a token that an administrator gave").takes::<account::ResetPassword>().done(204),
        get("/api/me/totp", account_security::second_factor, Person).says("Your second factor").gives::<account::SecondFactorStatus>(200),
        post("/api/me/totp", account_security::begin_second_factor, Person).says("Begin to set up a second factor")
            .takes::<account::PasswordConfirmation>().gives::<account::TotpSetup>(201),
        delete("/api/me/totp", account_security::drop_second_factor, Person).says("Switch your second factor off")
            .takes::<account::Reauthentication>().done(204),
        post("/api/me/totp/confirm", account_security::confirm_second_factor, Person).says("Confirm your second factor with a first code")
            .takes::<account::TotpCode>().gives::<account::RecoveryCodes>(200),
        post("/api/me/totp/recovery-codes", account_security::renew_recovery_codes, Person).says("New recovery codes in place of the old")
            .takes::<account::Reauthentication>().gives::<account::RecoveryCodes>(200),
        get("/api/me/audit", account_security::audit, Person).says("What concerned your security, newest first")
            .asks::<ListQuery>().lists::<admin::AuditEntryView>(),
        get("/api/me/export", account_security::export, Person)
            .says("Everything of yours as a ZIP archive; 202 until it is ready").gives::<account::ExportPending>(202).done(200),
        delete("/api/me", account_security::delete_me, Person).says("End your account").takes::<account::Reauthentication>().done(204),
        put("/api/me/status", contacts::set_status, Person).says("What your contacts see of you")
            .takes::<presence::PutStatus>().done(204),
        get("/.well-known/jwks.json", accounts::jwks, Anyone)
            .says("The public keys of access tokens").gives::<account::Jwks>(200),

        // Contacts.
        get("/api/contacts", contacts::list, Person).says("Your contacts and requests")
            .asks::<ListQuery>().lists::<contact::ContactView>(),
        post("/api/contacts", contacts::request, Person).says("Ask somebody to become a contact")
            .takes::<contact::RequestContact>().gives::<contact::ContactRequested>(201),
        post("/api/contacts/match", contacts::look_up, Person).says("Who of an address book is here; nothing of it is kept")
            .takes::<contact::AddressBook>().gives::<contact::ContactMatches>(200),
        post("/api/contacts/{user_id}/accept", contacts::accept, Person).says("Agree to a request").done(204),
        post("/api/contacts/{user_id}/refuse", contacts::refuse, Person).says("Decline a request").done(204),
        delete("/api/contacts/{user_id}", contacts::remove, Person).says("End a contact or take a request back").done(204),
        put("/api/contacts/{user_id}/block", contacts::block, Person).says("Keep somebody away").done(204),
        delete("/api/contacts/{user_id}/block", contacts::unblock, Person).says("Let somebody come near again").done(204),

        // Chat.
        post("/api/conversations", chat::open, Person).says("Open a conversation; 200 if the direct one exists")
            .takes::<conversation::CreateConversation>().gives::<conversation::ConversationDetail>(201)
            .gives::<conversation::ConversationDetail>(200),
        get("/api/conversations", chat::list, Person).says("Your conversations")
            .asks::<ListQuery>().lists::<conversation::ConversationSummary>(),
        get("/api/conversations/{id}", chat::get, Person).says("One conversation").gives::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}", chat::change, Person).says("Change a group's title and other settings")
            .takes::<conversation::PatchConversation>().gives::<conversation::ConversationDetail>(200),
        patch("/api/conversations/{id}/me", chat::keep, Person).says("Mute or archive a conversation, for yourself")
            .takes::<conversation::PatchMemberSettings>().gives::<conversation::MemberSettings>(200),
        put("/api/conversations/{id}/members/{user_id}", chat::put_member, Person)
            .says("Put somebody into a group, or change their role")
            .may_take::<conversation::PutMember>().gives::<conversation::ConversationDetail>(200),
        delete("/api/conversations/{id}/members/{user_id}", chat::remove_member, Person)
            .says("Remove somebody from a group, or leave it").done(204),
        post("/api/conversations/{id}/invites", invites::create, Person).says("Make a link with which people join a group")
            .may_take::<invite::CreateInvite>().gives::<invite::CreatedInvite>(201),
        get("/api/conversations/{id}/invites", invites::list, Person).says("A group's links that are still good")
            .lists::<invite::InviteView>(),
        delete("/api/conversations/{id}/invites/{invite_id}", invites::revoke, Person).says("Take a link back").done(204),
        post("/api/invites/{token}", invites::join, Person).rate(Login).says("Join a group")
            .gives::<conversation::ConversationDetail>(200),

        // Messages.
        get("/api/conversations/{id}/messages", messages::list, Person).says("What was said, by `seq`")
            .asks::<message::MessagesQuery>().lists::<message::MessageView>(),
        post("/api/conversations/{id}/messages", messages::send, Person).says("Say something; 200 if it was said before")
            .takes::<message::PostMessage>().gives::<message::MessageView>(201).gives::<message::MessageView>(200),
        get("/api/conversations/{id}/messages/{message_id}", messages::get, Person).says("One message").gives::<message::MessageView>(200),
        patch("/api/conversations/{id}/messages/{message_id}", messages::edit, Person).says("Have a message of yours say something else")
            .takes::<message::PatchMessage>().gives::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}", messages::delete, Person).says("Delete a message, for yourself or for everybody")
            .asks::<message::DeleteQuery>().done(204),
        get("/api/conversations/{id}/messages/{message_id}/edits", messages::edits, Person).says("What a message said before").lists::<message::MessageRevision>(),
        put("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::react, Person).says("React with an emoji").gives::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", messages::unreact, Person).says("Take a reaction back").gives::<message::MessageView>(200),
        put("/api/conversations/{id}/messages/{message_id}/pin", messages::pin, Person).says("Pin a message").gives::<message::MessageView>(200),
        delete("/api/conversations/{id}/messages/{message_id}/pin", messages::unpin, Person).says("Pin a message no longer").gives::<message::MessageView>(200),
        get("/api/conversations/{id}/pins", messages::pins, Person).says("What is pinned").lists::<message::MessageView>(),
        get("/api/search", messages::search, Person).says("Messages that have these words, what was said last first")
            .asks::<message::SearchQuery>().lists::<message::MessageView>(),

        // Files.
        post("/api/attachments", files::upload, Person).says("Send a file; a message can carry it then")
            .takes_form::<file::AttachmentForm>().gives::<file::UploadedAttachment>(201),
        get("/api/attachments/{id}", files::download, Person).says("A file, whole or one range of it; 206, 304 and 416 as in RFC 9110")
            .done(200).done(206).done(304).done(416),
        get("/api/attachments/{id}/thumbnail", files::thumbnail, Person).says("A small picture of a file (JPEG), given like the file")
            .done(200).done(206).done(304).done(416),
        options("/api/uploads/", uploads::abilities, Anyone).says("What resumable uploads (tus 1.0) this server can").done(204),
        post("/api/uploads/", uploads::create, Person).says("Begin a resumable upload (tus 1.0)").gives::<file::UploadView>(201),
        get("/api/uploads/{id}", uploads::get, Person).says("How far an upload is, and what became of it; HEAD as tus has it")
            .gives::<file::UploadView>(200),
        patch("/api/uploads/{id}", uploads::append, Person)
            .says("Go on with an upload (tus 1.0); `Upload-Attachment` names the file once it is whole").done(204),
        delete("/api/uploads/{id}", uploads::end, Person).says("End an upload (tus 1.0)").done(204),

        // Calls.
        post("/api/call/token", calls::token, PersonOr("calls:token")).says("A token that opens one call")
            .takes::<call::NewCallToken>().gives::<call::CallToken>(200),
        get("/api/call/stats", calls::stats, PersonOr("calls:token")).says("The calls that go on")
            .gives::<call::CallStats>(200),
        get("/api/calls", calls::history, Person).says("Your calls, the newest first")
            .asks::<ListQuery>().lists::<call::PastCall>(),

        // Sockets.
        get("/ws", socket::connect_websocket, Anyone).says("WebSocket; see the description of events").done(101),
        get("/socket.io/", socket::poll, Anyone).rate(Unlimited).says("Socket.IO: handshake, polling, upgrade").hidden(),
        post("/socket.io/", socket::push, Anyone).rate(Unlimited).says("Socket.IO: polling").hidden(),

        // Administration.
        get("/api/admin/actors", actors::list, Operator).says("The supervision tree")
            .asks::<admin::ActorsQuery>().gives::<admin::ActorTreeView>(200),
        post("/api/admin/actors/{path:.+}/restart", actors::restart, Operator).says("Restart a branch of the tree").done(204),
        post("/api/admin/actors/{path:.+}/stop", actors::stop, Operator).says("Stop a branch of the tree").done(204),
        get("/api/admin/nodes", nodes::list, Operator).says("The nodes of the cluster")
            .lists::<admin::NodeView>(),
        post("/api/admin/nodes/{id}/drain", nodes::drain, Operator)
            .says("Have a node hand over its calls and leave").done(202),
        get("/api/admin/calls", calls::all, Operator).says("The calls that go on, with everybody in them")
            .lists::<call::CallView>(),
        get("/api/admin/tokens", api_tokens::list, Admin).says("API tokens")
            .asks::<ListQuery>().lists::<admin::ApiTokenView>(),
        post("/api/admin/tokens", api_tokens::create, Admin).says("Make an API token")
            .takes::<admin::CreateApiToken>().gives::<admin::CreatedApiToken>(201),
        delete("/api/admin/tokens/{id}", api_tokens::revoke, Admin).says("Take an API token back").done(204),
        get("/api/admin/audit", user_admin::audit, Admin).says("The audit log, newest first")
            .asks::<admin::AuditQuery>().lists::<admin::AuditEntryView>(),
        get("/api/admin/jobs", user_admin::jobs, Operator).says("Work to be done, and done lately, newest first")
            .asks::<ListQuery>().lists::<admin::JobView>(),
        get("/api/admin/users", user_admin::list, Admin).says("People").asks::<person::PeopleQuery>().lists::<person::UserAdminView>(),
        get("/api/admin/users/{user_id}", user_admin::get, Admin).says("One person").gives::<person::UserAdminView>(200),
        delete("/api/admin/users/{user_id}", user_admin::delete, Admin).says("End somebody's account").done(204),
        put("/api/admin/users/{user_id}/suspension", user_admin::suspend, Admin).says("Keep somebody out; their sockets close").done(204),
        delete("/api/admin/users/{user_id}/suspension", user_admin::unsuspend, Admin).says("Let somebody in again").done(204),
        put("/api/admin/users/{user_id}/role", user_admin::set_role, Admin).says("Change what somebody may do")
            .takes::<person::PutRole>().done(204),
        get("/api/admin/users/{user_id}/devices", user_admin::devices, Admin).says("Somebody's devices").gives::<account::Devices>(200),
        delete("/api/admin/users/{user_id}/devices", user_admin::sign_out, Admin).says("Sign somebody out everywhere").done(204),
        delete("/api/admin/users/{user_id}/devices/{id}", user_admin::sign_out_device, Admin).says("Sign one of somebody's devices out").done(204),
        post("/api/admin/users/{user_id}/reset", user_admin::reset, Admin).says("A one-time token with which somebody chooses a new password")
            .may_take::<person::CreatePasswordReset>().gives::<person::CreatedPasswordReset>(201),

        // Running it.
        get("/health", health::health, Anyone).says("How the server is").gives::<Health>(200).gives::<Health>(503),
        get("/health/live", health::live, Anyone).rate(Unlimited).says("Whether the process answers").gives::<ProbeReply>(200),
        get("/health/ready", health::ready, Anyone).rate(Unlimited).says("Whether it should get requests")
            .gives::<ProbeReply>(200).gives::<ProbeReply>(503),
        get("/metrics", health::metrics, LocalOr("metrics:read")).says("Prometheus metrics").hidden(),

        // Documents and pages.
        get("/api/openapi.json", openapi::openapi, Anyone).says("This description").hidden(),
        get("/api/asyncapi.json", openapi::asyncapi, Anyone).says("The description of events").hidden(),
        get("/api/docs", pages::docs, Anyone).rate(Unlimited).says("Both descriptions, to read").hidden(),
        get("/", pages::home, Anyone).rate(Unlimited).says("Where to go from here").hidden(),
        get("/setup", pages::setup, Anyone).rate(Unlimited).says("Make the first administrator").hidden(),
        get("/demo/chat", pages::chat, Anyone).rate(Unlimited).says("Try the chat in a browser").hidden(),
        get("/demo/call", pages::call, Anyone).rate(Unlimited).says("Try a call in a browser").hidden(),
        get("/assets/{file}", pages::asset, Anyone).rate(Unlimited).says("What the pages need").hidden(),
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

    fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn takes<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), true));
        self
    }

    fn takes_form<T: ToSchema + PartialSchema>(self) -> Self {
        Self { body_type: "multipart/form-data", ..self.takes::<T>() }
    }

    fn may_take<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.body = Some((SchemaRef::of::<T>(), false));
        self
    }

    fn asks<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.query = Some(SchemaRef::of::<T>());
        self
    }

    fn gives<T: ToSchema + PartialSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, Some(SchemaRef::of::<T>())));
        self
    }

    fn lists<T: ToSchema + PartialSchema>(mut self) -> Self {
        self.answers.push((200, Some(SchemaRef::list_of::<T>())));
        self
    }

    fn done(mut self, status: u16) -> Self {
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
