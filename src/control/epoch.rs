//! Times as JSON has them: epoch seconds, an integer where there is no fraction. For `#[serde(with)]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    time.to_json().serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    f64::deserialize(from).map(Timestamp::from_secs_f64)
}

/// The same, `null` for none.
pub mod option {
    use super::*;

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::to_json).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.map(Timestamp::from_secs_f64))
    }
}
