//! What to say of an expression that cannot be planned: the part that is wrong, in SQL, and in
//! words for the person who wrote it. What DataFusion and its parser say of many of them is how
//! they print their own structures.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion_common::{DataFusionError, SchemaError};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Subscript, Value,
    visit_expressions,
};

use crate::words::{tidy, type_name, unreadable_pattern};
use crate::{NOW, Planner};

/// What is in messages of DataFusion 54 that are meant for who writes it.
const INTERNAL: [&str; 16] = [
    "Internal error",
    "sqltorel",
    "ExprPlanner",
    "DataFusion feature",
    "datafusion.",
    "No functions registered",
    "has no type information",
    "Unsupported Value '",
    "Ident {",
    "Span(",
    "Some(",
    "Exact(",
    "Coercible(",
    "user-defined coercion",
    "(DataType: ",
    "compound identifier",
];
/// What is in messages about operands of types that are not taken.
const ABOUT_TYPES: [&str; 5] = [
    "No function matches",
    "Failed to coerce arguments",
    "failed to match any signature",
    "user-defined coercion",
    "(DataType: ",
];

/// The message for an expression, made of what DataFusion says.
pub(crate) fn explain(
    planner: &Planner,
    sql: &str,
    schema: &SchemaRef,
    error: &DataFusionError,
) -> String {
    let said = error.strip_backtrace();
    for kind in ["ParserError(\"", "TokenizerError(\""] {
        if let Some((_, text)) = said.split_once(kind) {
            return unreadable(text.trim_end_matches(['"', ')']));
        }
    }
    let Some(part) = failing_part(planner, sql, schema) else {
        return tidy(&said);
    };
    if let Some(message) = names(&part).and_then(|names| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        member(&names, schema)
    }) {
        return message;
    }
    if let Some(message) = unknown_member(&part, schema).or_else(|| unknown_column(error)) {
        return message;
    }
    let has = |markers: &[&str]| markers.iter().any(|marker| said.contains(marker));
    if has(&ABOUT_TYPES)
        && let Some(message) = types(planner, &part, schema, &said)
    {
        return message;
    }
    if let Some(message) = unreadable_pattern(&said) {
        return format!("`{part}`: {message}");
    }
    if has(&INTERNAL) {
        return format!("`{part}`: SQL has this form, and an expression cannot have it here");
    }
    tidy(&said)
}

/// What to say of a column that there is not.
fn unknown_column(error: &DataFusionError) -> Option<String> {
    let DataFusionError::SchemaError(error, _) = error.find_root() else {
        return None;
    };
    let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = error.as_ref()
    else {
        return None;
    };
    let name = field.flat_name();
    let known = valid_fields.iter().map(|known| known.name().to_owned());
    let known: Vec<String> = known.filter(|known| known != NOW).collect();
    let said = error.to_string();
    let similar = said
        .split_once("Did you mean '")
        .and_then(|(_, similar)| similar.split('\'').next());
    let meant = known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(&name))
        .or_else(|| known.iter().find(|known| Some(known.as_str()) == similar));
    Some(match meant {
        Some(meant) => format!("there is no column `{name}`; did you mean `{meant}`?"),
        None => format!(
            "there is no column `{name}`; there are {}",
            known.join(", ")
        ),
    })
}

/// What to say of a function or an operator that does not take operands of these types.
fn types(planner: &Planner, part: &Expr, schema: &SchemaRef, said: &str) -> Option<String> {
    let (name, operands) = match part {
        Expr::Function(function) => (function.name.to_string(), operands(&function.args)?),
        Expr::BinaryOp { left, op, right } => (op.to_string(), vec![left.as_ref(), right.as_ref()]),
        _ => return None,
    };
    let mut types = Vec::new();
    for operand in operands {
        let planned = planner.try_plan(&operand.to_string(), schema).ok()?;
        types.push(type_name(planned.data_type()));
    }
    let types = types.join(", ");
    let mut message = format!("`{part}`: `{name}` does not take ({types})");
    let candidates = said.split_once("Candidate functions:");
    let candidates = candidates.map_or("", |(_, candidates)| candidates).lines();
    let mut taken: Vec<String> = Vec::new();
    for candidate in candidates {
        let Some((_, candidate)) = candidate.trim().split_once('(') else {
            continue;
        };
        let candidate = tidy(&format!("({candidate}")).replace("String", "VARCHAR");
        let is_readable = !["Any", "UserDefined", "Coercible", "..", "T"]
            .iter()
            .any(|marker| {
                candidate
                    .split(['(', ')', ',', ' '])
                    .any(|word| word == *marker)
            });
        if is_readable && !taken.contains(&candidate) {
            taken.push(candidate);
        }
    }
    if let Some((last, others)) = taken.split_last() {
        let others = others.join(", ");
        let or = if others.is_empty() { "" } else { " or " };
        message = format!("{message}; it takes {others}{or}{last}");
    }
    Some(message)
}

fn operands(arguments: &FunctionArguments) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = arguments else {
        return None;
    };
    let mut operands = Vec::new();
    for argument in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(operand)) = argument else {
            return None;
        };
        operands.push(operand);
    }
    Some(operands)
}

/// What the parser says: `Expected: an expression, found: * at Line: 1, Column: 1`.
fn unreadable(said: &str) -> String {
    let said = said
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
        .replace("Expected: ", "expected ")
        .replace(", found: ", ", found ")
        .replace("found EOF", "found the end")
        .replace(" at Line: ", " in line ")
        .replace(", Column: ", ", column ");
    format!("this is not an expression: {said}")
}

/// The first part that cannot be planned although its own parts can.
fn failing_part(planner: &Planner, sql: &str, schema: &SchemaRef) -> Option<Expr> {
    let mut parser = DFParserBuilder::new(sql).build().ok()?;
    let parsed = parser.parse_into_expr().ok()?.expr;
    let mut failing = None;
    // Each is seen before its parts, so that the last one that fails is the innermost of its kind.
    let _ = visit_expressions(&parsed, |part| {
        if planner.try_plan(&part.to_string(), schema).is_err() {
            failing = Some(part.clone());
            // What is after a point is the name of a member, and no expression.
            if names(part).is_some() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    failing
}

/// The names of `a.b.c`.
fn names(part: &Expr) -> Option<Vec<String>> {
    match part {
        Expr::CompoundIdentifier(names) => {
            Some(names.iter().map(|name| name.value.clone()).collect())
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut all = match root.as_ref() {
                Expr::Identifier(name) => vec![name.value.clone()],
                // Some names, `user` among them, are functions without parentheses for the parser.
                Expr::Function(function) if function.args == FunctionArguments::None => {
                    vec![function.name.to_string()]
                }
                root => names(root)?,
            };
            for access in access_chain {
                match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => all.push(name.value.clone()),
                    _ => return None,
                }
            }
            Some(all)
        }
        _ => None,
    }
}

/// What to say of a member that was asked for in brackets, and that its struct does not have:
/// `user['nme']`.
fn unknown_member(part: &Expr, schema: &Schema) -> Option<String> {
    let Expr::CompoundFieldAccess { root, access_chain } = part else {
        return None;
    };
    let column = match root.as_ref() {
        Expr::Identifier(name) => name.value.clone(),
        Expr::Function(function) if function.args == FunctionArguments::None => {
            function.name.to_string()
        }
        _ => return None,
    };
    let mut ty = schema.field_with_name(&column).ok()?.data_type();
    let mut so_far = column;
    for access in access_chain {
        let AccessExpr::Subscript(Subscript::Index {
            index: Expr::Value(name),
        }) = access
        else {
            return None;
        };
        let (DataType::Struct(members), Value::SingleQuotedString(name)) = (ty, &name.value) else {
            return None;
        };
        let Some((_, member)) = members.find(name) else {
            return Some(format!("`{part}`: {}", no_member(&so_far, name, members)));
        };
        ty = member.data_type();
        so_far = format!("{so_far}['{name}']");
    }
    None
}

fn no_member(of: &str, name: &str, members: &Fields) -> String {
    let known: Vec<&str> = members.iter().map(|it| it.name().as_str()).collect();
    format!("`{of}` has no member `{name}`; it has {}", known.join(", "))
}

/// The field of a name, or else the one that differs in case only.
fn named<'a>(fields: &'a Fields, name: &str) -> Option<&'a FieldRef> {
    let exact = fields.iter().find(|field| field.name() == name);
    exact.or_else(|| {
        fields
            .iter()
            .find(|field| field.name().eq_ignore_ascii_case(name))
    })
}

/// What to say of a member that was asked for with a point: `user.country`. None where the first
/// name is no column's.
pub(crate) fn member(names: &[&str], schema: &Schema) -> Option<String> {
    let [column, members @ ..] = names else {
        return None;
    };
    let field = named(schema.fields(), column)?;
    if members.is_empty() {
        return None;
    }
    let written = names.join(".");
    let mut ty = field.data_type();
    let mut so_far = field.name().to_owned();
    for member in members {
        let mut name = *member;
        ty = match ty {
            DataType::Struct(fields) => match named(fields, member) {
                Some(field) => {
                    name = field.name();
                    field.data_type()
                }
                None => {
                    return Some(format!(
                        "`{written}`: {}",
                        no_member(&so_far, member, fields)
                    ));
                }
            },
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => pair[1].data_type(),
                _ => return None,
            },
            _ => return Some(format!("`{written}`: `{so_far}` has no members")),
        };
        so_far = format!("{so_far}['{name}']");
    }
    Some(format!(
        "`{written}`: a member of a struct or map is named in brackets; did you mean {so_far}?"
    ))
}
