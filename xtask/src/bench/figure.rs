use super::Trouble;
use std::str::FromStr;

/// Something measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) size: String,
    pub(super) unit: Unit,
    pub(super) value: f64,
    pub(super) floor: Option<Floor>,
}

/// The least that it could be, measured in the same run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Floor {
    pub(super) is: String,
    pub(super) value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Percent,
    Count,
    Ratio,
}

impl Figure {
    /// From a line that a benchmark printed.
    pub(super) fn from_line(line: &str) -> Result<Self, Trouble> {
        let json: serde_json::Value = serde_json::from_str(line)?;
        let text = |name: &str| json[name].as_str().ok_or_else(|| format!("no {name} in {line}"));
        let floor = match (json["floor"].as_f64(), json["floor-is"].as_str()) {
            (Some(value), Some(is)) => Some(Floor { is: is.into(), value }),
            _ => None,
        };
        Ok(Self {
            what: text("what")?.into(),
            size: text("size")?.into(),
            unit: text("unit")?.parse()?,
            value: json["value"]
                .as_f64()
                .ok_or_else(|| format!("no value in {line}"))?,
            floor,
        })
    }

    pub(super) fn is(&self, what: &str, size: &str) -> bool {
        self.what == what && self.size == size
    }

    /// How many times its floor it is.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| self.value / floor.value)
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "s" => Ok(Self::Seconds),
            "bytes" => Ok(Self::Bytes),
            "%" => Ok(Self::Percent),
            "count" => Ok(Self::Count),
            "ratio" => Ok(Self::Ratio),
            _ => Err(format!("no unit {name}")),
        }
    }
}

impl Unit {
    /// With three digits that count.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
            Self::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Bytes if value < 1e4 => format!("{value:.0} B"),
            Self::Bytes if value < 1e6 => format!("{} kB", digits(value / 1e3)),
            Self::Bytes if value < 1e9 => format!("{} MB", digits(value / 1e6)),
            Self::Bytes => format!("{} GB", digits(value / 1e9)),
            Self::Percent => format!("{value:.2} %"),
            Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{} ×", digits(value)),
        }
    }
}

pub(super) fn digits(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_benchmark_is_a_figure() {
        let line = r#"{"what":"write","size":"10 entries","unit":"s","value":0.0018,"floor":0.0012,"floor-is":"a file"}"#;
        let figure = Figure::from_line(line).unwrap();
        assert!(figure.is("write", "10 entries"));
        assert_eq!(figure.unit.show(figure.value), "1.80 ms");
        assert!((figure.ratio().unwrap() - 1.5).abs() < 1e-9);
        assert!(Figure::from_line(r#"{"what":"write","size":"","unit":"miles","value":1}"#).is_err());
        assert!(Figure::from_line("running 3 tests").is_err());
    }

    #[test]
    fn three_digits_are_shown_in_the_unit_that_fits() {
        assert_eq!(Unit::Seconds.show(0.000_022_76), "22.8 µs");
        assert_eq!(Unit::Seconds.show(12.0), "12.0 s");
        assert_eq!(Unit::Bytes.show(159_066.0), "159 kB");
        assert_eq!(Unit::Bytes.show(21_827_584.0), "21.8 MB");
    }
}
