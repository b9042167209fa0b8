//! What to say of an expression that cannot be planned: the part that is wrong, in SQL, and in
//! words for the person who wrote it. What DataFusion and its parser say of many of them is how
//! they print their own structures.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArguments, Subscript, Value, visit_expressions,
};

use crate::Planner;

/// What is in messages of DataFusion 54 that are meant for who writes it.
const INTERNAL: [&str; 10] = [
    "Internal error",
    "sqltorel",
    "ExprPlanner",
    "DataFusion feature",
    "No functions registered",
    "has no type information",
    "Unsupported Value '",
    "Ident {",
    "Span(",
    "compound identifier",
];

/// The message for an expression, made of what DataFusion says.
pub(crate) fn explain(planner: &Planner, sql: &str, schema: &SchemaRef, said: &str) -> String {
    for kind in ["ParserError(\"", "TokenizerError(\""] {
        if let Some(text) = said.strip_prefix(kind) {
            return unreadable(text.trim_end_matches(['"', ')']));
        }
    }
    let Some(part) = failing_part(planner, sql, schema) else {
        return said.to_owned();
    };
    if let Some(message) = names(&part).and_then(|names| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        member(&names, schema)
    }) {
        return message;
    }
    if let Some(message) = unknown_member(&part, schema) {
        return message;
    }
    if INTERNAL.iter().any(|internal| said.contains(internal)) {
        return format!("`{part}`: SQL has this form, and an expression cannot have it here");
    }
    said.to_owned()
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

/// What to say of a member that was asked for with a point: `user.country`. None where the first
/// name is no column's.
pub(crate) fn member(names: &[&str], schema: &Schema) -> Option<String> {
    let [column, members @ ..] = names else {
        return None;
    };
    let field = schema.field_with_name(column).ok()?;
    if members.is_empty() {
        return None;
    }
    let written = names.join(".");
    let mut ty = field.data_type();
    let mut so_far = (*column).to_owned();
    for member in members {
        ty = match ty {
            DataType::Struct(fields) => match fields.find(member) {
                Some((_, field)) => field.data_type(),
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
        so_far = format!("{so_far}['{member}']");
    }
    Some(format!(
        "`{written}`: a member of a struct or map is named in brackets; did you mean {so_far}?"
    ))
}
