//! How a window is written in Redis: [`super`] says it in words, for others who read it.

use serde_json::Value;

use crate::hot::HotWindow;
use crate::number::Number;

/// Fields and values of a window's hash, those of groups that are not up to date included.
pub(super) fn fields(window: &HotWindow) -> Vec<(String, String)> {
    let values = window
        .values
        .iter()
        .map(|((lane, group), values)| (format!("{lane}|{group}"), encode(values)));
    let left_out = window
        .left_out
        .iter()
        .map(|(lane, groups)| (format!("!{lane}"), groups.to_string()));
    values.chain(left_out).collect()
}

/// The window that is in these fields, or the first field that no Tidegate has written.
pub(super) fn window(fields: Vec<(String, String)>) -> Result<HotWindow, String> {
    let mut window = HotWindow::default();
    for (field, text) in fields {
        put(&mut window, &field, &text).ok_or(field)?;
    }
    Ok(window)
}

fn put(window: &mut HotWindow, field: &str, text: &str) -> Option<()> {
    if let Some(lane) = field.strip_prefix('!') {
        let (lane, groups) = (lane.parse().ok()?, text.parse().ok()?);
        if groups > 0 {
            window.left_out.insert(lane, groups);
        }
    } else {
        let (lane, group) = field.split_once('|')?;
        let key = (lane.parse().ok()?, group.into());
        window.values.insert(key, decode(text)?);
    }
    Some(())
}

fn encode(values: &[Number]) -> String {
    let values = values.iter().map(|value| match value {
        Number::Null => Value::Null,
        Number::Int(value) => {
            i64::try_from(*value).map_or_else(|_| value.to_string().into(), Value::from)
        }
        Number::Float(value) if value.is_finite() => (*value).into(),
        Number::Float(value) => value.to_string().into(),
    });
    values.collect::<Value>().to_string()
}

fn decode(text: &str) -> Option<Box<[Number]>> {
    let values: Vec<Value> = serde_json::from_str(text).ok()?;
    let number = |value: &Value| match value {
        Value::Null => Some(Number::Null),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Some(Number::Int(value.into())),
            None => number.as_f64().map(Number::Float),
        },
        Value::String(text) => match text.parse() {
            Ok(value) => Some(Number::Int(value)),
            Err(_) => text.parse().ok().map(Number::Float),
        },
        _ => None,
    };
    values.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let values = [
            Number::Null,
            Number::Int(-3),
            Number::Int(i128::MAX),
            Number::Float(3.0),
            Number::Float(1e300),
            Number::Float(f64::NEG_INFINITY),
        ];
        assert_eq!(decode(&encode(&values)).as_deref(), Some(&values[..]));
        let nan = decode(&encode(&[Number::Float(f64::NAN)]));
        assert!(matches!(nan.as_deref(), Some([Number::Float(value)]) if value.is_nan()));
    }
}
