//! Routers other than `net/http`'s `ServeMux`: where each holds the pattern that a request has matched.
//!
//! Each has one site, a direct call that its `ServeHTTP` makes for every request (gin where `Next` is not inlined, and
//! gorilla/mux: for every one that has matched). An argument of the call leads to the pattern, which the router has noted by
//! then (sources of gin 1.9 to 1.12, chi 5.0 to 5.5, echo 4.11 to 4.16, gorilla/mux 1.8). `ServeHTTP` is called through
//! `http.Handler`, so that only a profile-guided build may inline it.
//!
//! | router | call | the pattern |
//! |---|---|---|
//! | gin | `c.Next()` with the handlers of the route; where that is inlined, `engine.pool.Put(c)` | `c.fullPath` |
//! | chi | `mx.pool.Put(rctx)`, in the outermost of nested routers | `rctx.RoutePatterns`, one for each of these |
//! | echo | `e.pool.Put(c)` | `c.path` |
//! | gorilla/mux | `requestWithRoute(req, match.Route)` | `route.regexp.path.template` |
//!
//! A context that goes back to its pool is not passed on when a handler's panic goes through the router.

use lightfoot_symbolizer::go_abi::GoType;
use lightfoot_symbolizer::types::Kind;

use super::{Layout, Library, Operation, Place, Point, Role, Way};

/// Every router. BPF tells them by their place here.
pub const ROUTERS: [Router; 4] = [GIN, CHI, ECHO, GORILLA];

/// A router and where its pattern is.
#[derive(Debug)]
pub struct Router {
    /// What its site says.
    pub operation: &'static Operation,
    /// The fields, each within the one before, that lead from the struct whose address the site's call has for an argument to
    /// the pattern, or to a pointer.
    pub fields: &'static [(&'static str, &'static str)],
    /// The field with the pattern in what that pointer leads to.
    pub behind: Option<(&'static str, &'static str)>,
    /// What holds the pattern: a string, or a slice of strings.
    pub kind: Kind,
}

/// `github.com/gin-gonic/gin`.
pub const GIN_LIBRARY: Library = library("github.com/gin-gonic/gin", &[GIN_ROUTE]);
/// `github.com/go-chi/chi/v5`.
pub const CHI_LIBRARY: Library = library("github.com/go-chi/chi/v5", &[CHI_ROUTE]);
/// `github.com/labstack/echo/v4`.
pub const ECHO_LIBRARY: Library = library("github.com/labstack/echo/v4", &[ECHO_ROUTE]);
/// `github.com/gorilla/mux`.
pub const GORILLA_LIBRARY: Library = library("github.com/gorilla/mux", &[GORILLA_ROUTE]);

const GIN: Router = Router {
    operation: &GIN_ROUTE,
    fields: &[("github.com/gin-gonic/gin.Context", "fullPath")],
    behind: None,
    kind: Kind::String,
};

const CHI: Router = Router {
    operation: &CHI_ROUTE,
    fields: &[("github.com/go-chi/chi/v5.Context", "RoutePatterns")],
    behind: None,
    kind: Kind::Slice,
};

const ECHO: Router = Router {
    operation: &ECHO_ROUTE,
    fields: &[("github.com/labstack/echo/v4.context", "path")],
    behind: None,
    kind: Kind::String,
};

const GORILLA: Router = Router {
    operation: &GORILLA_ROUTE,
    fields: &[
        ("github.com/gorilla/mux.Route", "routeConf"),
        ("github.com/gorilla/mux.routeConf", "regexp"),
        ("github.com/gorilla/mux.routeRegexpGroup", "path"),
    ],
    behind: Some(("github.com/gorilla/mux.routeRegexp", "template")),
    kind: Kind::String,
};

const GIN_ROUTE: Operation = operation(
    "gin route",
    &[Point {
        role: Role::Router,
        ways: &[
            Way {
                function: "github.com/gin-gonic/gin.(*Engine).handleHTTPRequest",
                place: Place::CallWith {
                    callee: "github.com/gin-gonic/gin.(*Context).Next",
                    parameters: &[GoType::Pointer],
                    argument: 0,
                },
            },
            Way { function: "github.com/gin-gonic/gin.(*Engine).ServeHTTP", place: PUT },
        ],
    }],
    &[&layout("github.com/gin-gonic/gin.Context", &["fullPath"])],
);

const CHI_ROUTE: Operation = operation(
    "chi route",
    &[Point {
        role: Role::Router,
        ways: &[Way { function: "github.com/go-chi/chi/v5.(*Mux).ServeHTTP", place: PUT }],
    }],
    &[&layout("github.com/go-chi/chi/v5.Context", &["RoutePatterns"])],
);

const ECHO_ROUTE: Operation = operation(
    "echo route",
    &[Point {
        role: Role::Router,
        ways: &[Way { function: "github.com/labstack/echo/v4.(*Echo).ServeHTTP", place: PUT }],
    }],
    &[&layout("github.com/labstack/echo/v4.context", &["path"])],
);

const GORILLA_ROUTE: Operation = operation(
    "gorilla/mux route",
    &[Point {
        role: Role::Router,
        ways: &[Way {
            function: "github.com/gorilla/mux.(*Router).ServeHTTP",
            place: Place::CallWith {
                // func requestWithRoute(r *http.Request, route *Route) *http.Request
                callee: "github.com/gorilla/mux.requestWithRoute",
                parameters: &[GoType::Pointer, GoType::Pointer],
                argument: 1,
            },
        }],
    }],
    &[
        &layout("github.com/gorilla/mux.Route", &["routeConf"]),
        &layout("github.com/gorilla/mux.routeConf", &["regexp"]),
        &layout("github.com/gorilla/mux.routeRegexpGroup", &["path"]),
        &layout("github.com/gorilla/mux.routeRegexp", &["template"]),
    ],
);

/// `func (p *Pool) Put(x any)`
const PUT: Place = Place::CallWith {
    callee: "sync.(*Pool).Put",
    parameters: &[GoType::Pointer, GoType::Interface],
    argument: 1,
};

const fn library(name: &'static str, operations: &'static [Operation]) -> Library {
    Library { name, module: Some(name), operations }
}

const fn operation(
    title: &'static str,
    points: &'static [Point],
    layouts: &'static [&'static Layout],
) -> Operation {
    Operation { title, only_with: None, inlined: None, points, layouts, maps: &[] }
}

const fn layout(name: &'static str, required: &'static [&'static str]) -> Layout {
    Layout { name, required, optional: &[], is_optional: false }
}
