//! Table of all routes, collected from the modules of their handlers.

use std::collections::HashMap;

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};

use super::access::{AccessRule, RateClass};
use super::route::Route;
use super::{
    account_security, accounts, actors, api_tokens, calls, chat, contacts, files, health, invites,
    messages, nodes, openapi, pages, socket, uploads, user_admin,
};

/// All routes of the server.
pub fn routes() -> Vec<Route> {
    [
        accounts::routes(),
        account_security::routes(),
        contacts::routes(),
        chat::routes(),
        invites::routes(),
        messages::routes(),
        files::routes(),
        uploads::routes(),
        calls::routes(),
        socket::routes(),
        actors::routes(),
        nodes::routes(),
        api_tokens::routes(),
        user_admin::routes(),
        health::routes(),
        openapi::routes(),
        pages::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

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
