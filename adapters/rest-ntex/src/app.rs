//! The table of calls as a service of ntex-web, with an answer for everything that is not in it.

use ntex::SharedCfg;
use ntex::http::{Method, Request, Response, StatusCode, header};
use ntex::service::{ServiceFactory, apply};
use ntex::web::{self, HttpRequest, HttpResponse, ServiceConfig};

use crate::answer::Answer;
use crate::extract::Shared;
use crate::observe::{Observe, Template};
use crate::problem::Problem;
use crate::routes::{self, Call};
use crate::stats::RestMeter;

/// The service that answers requests.
pub(crate) fn app(
    shared: Shared,
    meter: RestMeter,
) -> impl ServiceFactory<Request, SharedCfg, Response = Response, Error = web::Error, InitError = ()> {
    let app = web::App::new()
        .state(shared.clone())
        .configure(|config| {
            for call in paths(routes::API) {
                mount(config, routes::API, call.path, &routes::PREFIXES);
            }
            for call in paths(routes::BESIDE) {
                mount(config, routes::BESIDE, call.path, &[""]);
            }
            if crate::SERVES_OPENAPI {
                mount(config, routes::DOCUMENT, routes::DOCUMENT[0].path, &[""]);
            }
        })
        .default_service(web::route().to(nothing));
    apply(Observe { shared, meter }, app.finish())
}

/// The first call of each path.
fn paths(calls: &'static [Call]) -> impl Iterator<Item = &'static Call> {
    let first = |(index, call): &(usize, &Call)| calls[..*index].iter().all(|earlier| earlier.path != call.path);
    calls.iter().enumerate().filter(first).map(|(_, call)| call)
}

fn mount(config: &mut ServiceConfig, calls: &'static [Call], path: &'static str, prefixes: &[&str]) {
    let patterns: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}{path}")).collect();
    let mut resource = web::resource(patterns).state(Template(path));
    let mut allow = Vec::new();
    for call in calls.iter().filter(|call| call.path == path) {
        allow.push(call.method.as_str());
        resource = resource.route((call.handler)().method(call.method.clone()));
        if call.method == Method::GET {
            // The encoder leaves out the body of an answer to HEAD (RFC 9110, 9.3.2).
            allow.push("HEAD");
            resource = resource.route((call.handler)().method(Method::HEAD));
        }
    }
    allow.push("OPTIONS");
    let allow = allow.join(", ");
    config.service(
        resource.default_service(web::route().to(async move |request: HttpRequest| other_method(&request, &allow))),
    );
}

/// `OPTIONS /` and `OPTIONS *` are about the server as a whole (RFC 9110, 9.3.7): load balancers ask so whether it is there.
async fn nothing(request: HttpRequest) -> Answer {
    if *request.method() == Method::OPTIONS && matches!(request.path(), "/" | "*" | "") {
        return Ok(HttpResponse::build(StatusCode::NO_CONTENT).finish());
    }
    Err(Problem::not_found())
}

fn other_method(request: &HttpRequest, allow: &str) -> Answer {
    if *request.method() == Method::OPTIONS {
        return Ok(HttpResponse::build(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish());
    }
    Err(Problem::method_not_allowed(allow))
}
