//! The batch's time in a planned expression: one value for all rows, so that what depends on it
//! alone, such as `now() - INTERVAL '7 days'`, is computed once a batch and not once a row.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

/// Replaces the column `name`, which has the same value in all rows, by that value.
pub(crate) fn as_scalar(
    expression: Arc<dyn PhysicalExpr>,
    name: &str,
) -> Result<Arc<dyn PhysicalExpr>> {
    expression
        .transform(|node| {
            let column = node.downcast_ref::<Column>();
            Ok(match column.filter(|column| column.name() == name) {
                Some(column) => {
                    let constant: Arc<dyn PhysicalExpr> = Arc::new(Constant(column.clone()));
                    Transformed::yes(constant)
                }
                None => Transformed::no(node),
            })
        })
        .map(|transformed| transformed.data)
}

/// A column with the same value in all rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Constant(Column);

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Constant {
    fn data_type(&self, schema: &Schema) -> Result<arrow::datatypes::DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match (self.0.evaluate(batch)?, batch.num_rows()) {
            (ColumnarValue::Array(values), 1..) => {
                ScalarValue::try_from_array(&values, 0).map(ColumnarValue::Scalar)
            }
            (values, _) => Ok(values),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}
