//! What `inspect` shows, for people and for machines.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use lightfoot_symbolizer::site::Price;
use lightfoot_symbolizer::types::LayoutSource;
use serde::Serialize;
use tracing::error;

use crate::catalog::Role;
use crate::escape::{printable, printable_lines};
use crate::inspect::Program;
use crate::logs;
use crate::plan::{LayoutPlan, OperationPlan, Plan, PlannedSite, PointPlan};

/// How errors are set off.
const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(super) const HEADING: Style = Style::new().bold();
pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DEAR: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// Everything that is known of a program.
#[derive(Serialize)]
pub(super) struct Report {
    path: String,
    architecture: &'static str,
    position_independent: bool,
    go_version: String,
    main_package: Option<String>,
    main_module: Option<String>,
    fips: Option<&'static str>,
    go_build_id: Option<String>,
    gnu_build_id: Option<String>,
    struct_types: usize,
    context_types: Vec<ContextType>,
    dwarf: Option<String>,
    /// Whether any operation of any library can be watched.
    pub(super) can_be_watched: bool,
    libraries: Vec<Library>,
}

#[derive(Serialize)]
struct ContextType {
    name: String,
    offset: u64,
    is_context: bool,
}

#[derive(Serialize)]
struct Library {
    name: &'static str,
    version: Option<String>,
    absent: Option<String>,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    title: &'static str,
    /// Else it adds to the spans of others.
    is_span: bool,
    can_be_watched: bool,
    refusals: Vec<String>,
    /// The program's own instrumentation that makes such spans, to which they are left unless asked otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    covered_by: Option<String>,
    traps_per_span: usize,
    points: Vec<Point>,
    layouts: Vec<Layout>,
}

#[derive(Serialize)]
struct Point {
    role: Role,
    function: Option<&'static str>,
    sites: Vec<Site>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    function: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Site {
    address: u64,
    file_offset: u64,
    from_entry: u64,
    /// The function that it lies in, if that is not the point's.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    instruction: String,
    price: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Layout {
    name: &'static str,
    source: Option<&'static str>,
    fields: Vec<Field>,
    missing: Vec<&'static str>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    offset: u64,
}

impl Report {
    pub(super) fn new(path: &Path, program: &Program, plan: &Plan) -> Self {
        let info = &program.build_info;
        let libraries: Vec<_> = plan
            .libraries
            .iter()
            .map(|library| Library {
                name: library.library.name,
                version: library.version.clone(),
                absent: library.operations.as_ref().err().cloned(),
                operations: library.operations.iter().flatten().map(Operation::new).collect(),
            })
            .collect();
        Self {
            path: path.display().to_string(),
            architecture: program.architecture.goarch(),
            position_independent: program.position_independent,
            go_version: info.go_version.clone(),
            main_package: info.path.clone(),
            main_module: info.main.as_ref().map(|module| format!("{} {}", module.path, module.version)),
            fips: info.fips(),
            go_build_id: program.build_id.go.clone(),
            gnu_build_id: program.build_id.gnu.clone(),
            struct_types: program.types.struct_count,
            context_types: program
                .types
                .context_holders
                .iter()
                .map(|holder| ContextType {
                    name: holder.name.clone(),
                    offset: holder.offset,
                    is_context: holder.embedded,
                })
                .collect(),
            dwarf: program.dwarf.as_ref().err().map(ToString::to_string),
            can_be_watched: libraries
                .iter()
                .flat_map(|library| &library.operations)
                .any(|operation| operation.is_span && operation.can_be_watched),
            libraries,
        }
    }

    pub(super) fn write(&self, page: &mut impl Write) -> io::Result<()> {
        let kind = if self.position_independent { ", position independent" } else { "" };
        let fips = self.fips.map(|fips| format!(", {fips}")).unwrap_or_default();
        writeln!(page, "{HEADING}{}{HEADING:#}", printable(&self.path))?;
        writeln!(page, "  {}, {}{kind}{fips}", printable(&self.go_version), self.architecture)?;
        if let Some(module) = &self.main_module {
            writeln!(page, "  {}", printable(module.trim_end()))?;
        } else if let Some(package) = &self.main_package {
            writeln!(page, "  {}", printable(package))?;
        }
        let contexts = self.context_types.iter().filter(|context| context.is_context).count();
        writeln!(
            page,
            "  {QUIET}{} struct types, {contexts} of them contexts and {} more that hold one{QUIET:#}",
            self.struct_types,
            self.context_types.len() - contexts
        )?;
        let (absent, present): (Vec<_>, Vec<_>) =
            self.libraries.iter().partition(|library| library.absent.is_some());
        for library in present {
            library.write(page)?;
        }
        if !absent.is_empty() {
            let names: Vec<_> = absent.iter().map(|library| library.name).collect();
            writeln!(page, "\n{QUIET}not linked into this program: {}{QUIET:#}", names.join(", "))?;
        }
        Ok(())
    }
}

impl Library {
    fn write(&self, page: &mut impl Write) -> io::Result<()> {
        let version =
            self.version.as_deref().map(|version| format!(" {}", printable(version))).unwrap_or_default();
        writeln!(page)?;
        writeln!(page, "{HEADING}{}{version}{HEADING:#}", self.name)?;
        for operation in &self.operations {
            operation.write(page)?;
        }
        Ok(())
    }
}

impl Operation {
    fn new(plan: &OperationPlan) -> Self {
        Self {
            title: plan.operation.title,
            is_span: plan.points.iter().any(|point| point.role == Role::Start),
            can_be_watched: plan.can_be_watched(),
            refusals: plan.refusals.clone(),
            covered_by: plan.covered_by.clone(),
            traps_per_span: plan.traps_per_span(),
            points: plan.points.iter().map(Point::new).collect(),
            layouts: plan.layouts.iter().map(Layout::new).collect(),
        }
    }

    fn write(&self, page: &mut impl Write) -> io::Result<()> {
        if !self.can_be_watched {
            writeln!(page, "  {BAD}✗{BAD:#} {}", self.title)?;
            for refusal in &self.refusals {
                writeln!(page, "      {}", printable(refusal))?;
            }
            return Ok(());
        }
        let counts_messages = self.points.iter().any(|point| point.role == Role::Sent);
        let (number, what) = match self.traps_per_span {
            _ if counts_messages => (1, "trap more a message"),
            number if self.is_span => (number, if number == 1 { "trap a span" } else { "traps a span" }),
            number => (number, if number == 1 { "trap more a span" } else { "traps more a span" }),
        };
        writeln!(page, "  {GOOD}✓{GOOD:#} {}, {number} {what}", self.title)?;
        if let Some(by) = &self.covered_by {
            writeln!(page, "      covered by {}: left to it but with --sdk both", printable(by))?;
        }
        for point in &self.points {
            point.write(page)?;
        }
        let read: Vec<_> =
            self.layouts.iter().filter(|layout| layout.source.is_some()).map(Layout::summary).collect();
        if !read.is_empty() {
            writeln!(page, "      {QUIET}reads {}{QUIET:#}", read.join(", "))?;
        }
        for layout in
            self.layouts.iter().filter(|layout| layout.source.is_some() && !layout.missing.is_empty())
        {
            let missing = layout.missing.join(", ");
            writeln!(page, "      {QUIET}{} has no {missing}: left out{QUIET:#}", layout.name)?;
        }
        Ok(())
    }
}

impl Point {
    fn new(plan: &PointPlan) -> Self {
        Self {
            role: plan.role,
            function: plan.chosen.as_ref().map(|(function, _)| *function),
            sites: plan.chosen.iter().flat_map(|(_, sites)| sites).map(Site::new).collect(),
            refused: plan
                .refused
                .iter()
                .map(|(function, reason)| Refused { function, reason: reason.clone() })
                .collect(),
        }
    }

    fn write(&self, page: &mut impl Write) -> io::Result<()> {
        let role = match self.role {
            Role::Start | Role::InlinedStart => "start",
            Role::End | Role::InlinedEnd => "end",
            Role::ConnectionEnd => "close",
            Role::Opened => "open",
            Role::ErrorEnd => "error",
            Role::Status => "status",
            Role::StandIn => "until",
            Role::Sent => "sent",
            Role::Received => "got",
            Role::Route | Role::Router => "route",
            Role::Connected => "peer",
            Role::Written => "write",
            Role::Listed => "list",
            Role::Told => "told",
        };
        let Some(function) = self.function else {
            let reason = self.refused.first().map_or("", |refused| refused.reason.as_str());
            return writeln!(page, "      {role:6}{QUIET}none: {}{QUIET:#}", printable(reason));
        };
        // A list of returns would bury the rest.
        let (shown, more) = match self.sites.len() {
            count @ 5.. => (1, count - 1),
            count => (count, 0),
        };
        for site in self.sites.iter().take(shown) {
            let price = if site.price == "stepped" { DEAR } else { GOOD };
            writeln!(
                page,
                "      {role:6}{:#x}  {:12} {price}{:9}{price:#} {}+{:#x}",
                site.address,
                site.instruction,
                site.price,
                printable(site.host.as_deref().unwrap_or(function)),
                site.from_entry
            )?;
        }
        if more > 0 {
            writeln!(page, "            {QUIET}and {more} more of that function{QUIET:#}")?;
        }
        let why = match self.role {
            Role::Route => "one trap more for a request that passes; only while copied requests hide routes",
            Role::Router => "for requests that the router serves, unless switched off",
            Role::Received | Role::Connected | Role::Written => "only if asked for",
            Role::ErrorEnd => "for calls that end otherwise",
            Role::Status => "for calls that net/http receives",
            Role::InlinedEnd => "for calls of a function that was inlined",
            Role::StandIn => "only until callers are known",
            Role::Told => "by what is read of requests, to whose spans it adds",
            _ => "",
        };
        if !why.is_empty() {
            writeln!(page, "            {QUIET}{why}{QUIET:#}")?;
        }
        for refused in &self.refused {
            writeln!(
                page,
                "            {QUIET}instead of {}: {}{QUIET:#}",
                refused.function,
                printable(&refused.reason)
            )?;
        }
        Ok(())
    }
}

impl Site {
    fn new(planned: &PlannedSite) -> Self {
        Self {
            address: planned.site.address.0,
            file_offset: planned.offset.0,
            from_entry: planned.from_entry,
            host: planned.host.clone(),
            instruction: planned.site.text.clone(),
            price: match planned.site.price {
                Price::Cold => "cold",
                Price::Stepped => "stepped",
                Price::Emulated => "emulated",
            },
            reason: planned.site.reason.to_string(),
        }
    }
}

impl Layout {
    fn new(plan: &LayoutPlan) -> Self {
        Self {
            name: plan.layout.name,
            source: plan.source.map(|source| match source {
                LayoutSource::Descriptor => "type descriptor",
                LayoutSource::Dwarf => "DWARF",
            }),
            fields: plan.fields.iter().map(|&(name, offset)| Field { name, offset }).collect(),
            missing: plan.missing.clone(),
        }
    }

    fn summary(&self) -> String {
        match self.source {
            Some("type descriptor") => self.name.to_owned(),
            source => format!("{} (from {})", self.name, source.unwrap_or("nowhere")),
        }
    }
}

/// Says why a command failed. Reasons name files, and quote what was read in them.
pub(super) fn fail(reason: &str) {
    let reason = &printable_lines(reason);
    match logs::format() {
        Some(logs::Format::Json) => error!(reason, "failed"),
        // It comes after what was said before.
        Some(logs::Format::Text) => logs::print(format!("lightfoot: {reason}\n")),
        None => anstream::eprintln!("{ERROR}lightfoot:{ERROR:#} {reason}"),
    }
}
