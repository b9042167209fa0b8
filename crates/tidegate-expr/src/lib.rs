//! SQL expressions over a batch: planned once by DataFusion, then run as vectorised kernels.
//!
//! What an expression can see are the columns of the batch, DataFusion's scalar functions, and the
//! functions in [`functions`]. What would make a repeated run differ is refused: `random()`,
//! `current_date` and the like. `now()` is the time that the batch brings along.
//!
//! This is a crate of its own because DataFusion's generics take minutes to compile; what changes
//! often stays out of it.

#![forbid(unsafe_code)]

mod checked;
pub mod compare;
mod explain;
pub mod functions;
mod instant;
mod matches;
mod now;
mod one_of;
mod parts;
mod text_check;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
pub use datafusion_common::DataFusionError;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result, TableReference, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{
    AggregateUDF, BinaryExpr, Cast, Expr, HigherOrderUDF, Operator, ScalarUDF, TableSource,
    TryCast, Volatility, WindowUDF,
};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::planner::{ParserOptions, SqlToRel};

use tidegate_base::time::UTC;

pub use crate::instant::instant;
pub use crate::parts::Subexpression;
pub use crate::words::{type_name, words};

/// Name of the hidden first column of every batch that expressions see: the batch's time.
const NOW: &str = "now()";

/// The schema that expressions see for a batch with `fields`.
pub fn visible_schema(fields: &[Field]) -> SchemaRef {
    let mut all = vec![Field::new(NOW, instant(), false)];
    all.extend_from_slice(fields);
    Arc::new(Schema::new(all))
}

/// The batch that expressions see: `columns` after the hidden column with the batch's time.
///
/// # Errors
/// If the columns do not fit the schema.
pub fn visible_batch(
    schema: &SchemaRef,
    now: i64,
    rows: usize,
    columns: &[ArrayRef],
) -> Result<RecordBatch> {
    let mut all: Vec<ArrayRef> = Vec::with_capacity(columns.len() + 1);
    all.push(Arc::new(
        TimestampMicrosecondArray::from_value(now, rows).with_timezone(UTC),
    ));
    all.extend_from_slice(columns);
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        all,
        &options,
    )?)
}

/// A planned expression.
#[derive(Debug, Clone)]
pub struct Expression {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    columns: Vec<String>,
    functions: Vec<String>,
    reads_now: bool,
}

impl Expression {
    /// Type of the result.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Names of the columns that it reads.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether it calls a function of this name.
    pub fn calls(&self, function: &str) -> bool {
        self.functions.iter().any(|called| called == function)
    }

    /// Whether it depends on the batch's time.
    pub fn reads_now(&self) -> bool {
        self.reads_now
    }

    /// The parts that it is made of, each after its own parts; the last one is the whole.
    pub fn parts(&self) -> Vec<Subexpression<'_>> {
        parts::of(&self.physical)
    }

    /// The values for all rows of a batch made by [`visible_batch`].
    ///
    /// # Errors
    /// If a row cannot be computed (a cast, a division by zero): one such row fails the whole
    /// batch.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        self.physical.evaluate(batch)?.into_array(batch.num_rows())
    }
}

/// Plans expressions.
#[derive(Debug)]
pub struct Planner {
    functions: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    config: ConfigOptions,
}

impl Default for Planner {
    fn default() -> Self {
        let mut functions = HashMap::new();
        let ours = functions::all();
        for function in datafusion_functions::all_default_functions()
            .into_iter()
            .chain(ours)
        {
            for alias in function.aliases() {
                functions.insert(alias.clone(), Arc::clone(&function));
            }
            functions.insert(function.name().to_owned(), function);
        }
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner {}),
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        ];
        Planner {
            functions,
            planners,
            config: ConfigOptions::default(),
        }
    }
}

impl Planner {
    /// Plans `sql` over a schema made by [`visible_schema`].
    ///
    /// # Errors
    /// A message for the person who wrote the expression.
    pub fn plan(&self, sql: &str, schema: &SchemaRef) -> std::result::Result<Expression, String> {
        self.try_plan(sql, schema).map_err(|error| {
            let said = explain::explain(self, sql, schema, &error);
            said.replace("'now()', ", "").replace("\"now()\", ", "")
        })
    }

    fn try_plan(&self, sql: &str, schema: &SchemaRef) -> Result<Expression> {
        let parsed = DFParserBuilder::new(sql).build()?.parse_into_expr()?;
        if let Some(alias) = &parsed.alias {
            return plan_err!(
                "`AS {alias}` gives a name, and an expression has none; its name is the key that \
                 stands before it, so leave `AS {alias}` out"
            );
        }
        let df_schema = DFSchema::try_from(Arc::clone(schema))?;
        let mut context = datafusion_sql::planner::PlannerContext::new();
        // Names are taken as they are written: keys of events are often in camel case.
        let options = ParserOptions::default().with_enable_ident_normalization(false);
        let expr = SqlToRel::new_with_options(self, options).sql_to_expr_with_alias(
            parsed,
            &df_schema,
            &mut context,
        )?;
        let expr = bind_now(expr)?;
        refuse_unknown(&expr)?;
        let functions = called(&expr)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(df_schema.clone()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.coerce(expr, &df_schema)?;
        let expr = simplifier.simplify(checked::checked(expr, &df_schema)?)?;
        // After constants are known: a comparison with one costs nothing then.
        let expr = compare::by_value(expr, &df_schema)?;
        let physical = create_physical_expr(&expr, &df_schema, &ExecutionProps::new())?;
        let physical = now::as_scalar(physical, NOW)?;
        let physical = text_check::specialise(physical, schema)?;
        let data_type = physical.data_type(schema)?;
        let mut columns: Vec<String> = expr
            .column_refs()
            .into_iter()
            .map(|c| c.name.clone())
            .collect();
        columns.sort();
        let all = columns.len();
        columns.retain(|name| name != NOW);
        Ok(Expression {
            physical,
            data_type,
            reads_now: columns.len() < all,
            columns,
            functions,
        })
    }
}

/// What to say of a member of a struct or map that is named with a point, as in `user.country`,
/// where a column is to be named; none if that is no name of one.
pub fn explain_member(name: &str, schema: &Schema) -> Option<String> {
    explain::member(&name.split('.').collect::<Vec<_>>(), schema)
}

/// Names of the functions that an expression calls.
fn called(expr: &Expr) -> Result<Vec<String>> {
    let mut functions = Vec::new();
    expr.apply(|node| {
        if let Expr::ScalarFunction(call) = node {
            functions.push(call.func.name().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(functions)
}

/// Replaces `now()` by the hidden column, and refuses whatever would differ from run to run.
fn bind_now(expr: Expr) -> Result<Expr> {
    expr.transform(|node| match &node {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "now" | "current_timestamp") => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(NOW))))
        }
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            let name = call.func.name();
            plan_err!("`{name}` gives another answer on each run; use now(), which is the time of the batch")
        }
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
            plan_err!("aggregates have no place here; they belong under [[windows]]")
        }
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => {
            plan_err!("a subquery has no place here; use [[lookups]] for a reference table")
        }
        _ => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

/// Refuses what DataFusion takes, and does nothing with or fails with when it runs.
fn refuse_unknown(expr: &Expr) -> Result<()> {
    expr.apply(|node| {
        match node {
            Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
                if let DataType::Timestamp(_, Some(zone)) = field.data_type()
                    && zone.parse::<Tz>().is_err()
                {
                    return plan_err!(
                        "there is no time zone `{zone}`; name one as in 'Europe/Berlin' or '+02:00'"
                    );
                }
            }
            Expr::BinaryExpr(BinaryExpr { op, .. }) if has_no_kernel(*op) => {
                return plan_err!("there is no operator `{op}` here; use a function");
            }
            _ => (),
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Whether an operator is one for DataFusion's parser only.
fn has_no_kernel(op: Operator) -> bool {
    use Operator::{
        Arrow, ArrowAt, AtArrow, AtAt, AtQuestion, Colon, HashArrow, HashLongArrow, HashMinus,
        IntegerDivide, LongArrow, Question, QuestionAnd, QuestionPipe,
    };
    matches!(
        op,
        AtArrow
            | ArrowAt
            | Arrow
            | LongArrow
            | HashArrow
            | HashLongArrow
            | AtAt
            | HashMinus
            | AtQuestion
            | Question
            | QuestionAnd
            | QuestionPipe
            | IntegerDivide
            | Colon
    )
}

impl ContextProvider for Planner {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table `{name}` here; an expression sees the columns of one event")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
