//! An action of fail2ban as the runner takes it.

use std::sync::Arc;
use std::time::Duration;

use super::definition::{Definition, TIMEOUT_DEFAULT, Verb};
use crate::fail2ban::jail::Action;

/// What `action` of action.d says, and what is wrong with its time-out, if anything is; the default holds then.
pub fn definition(action: &Action) -> (Arc<Definition>, Option<String>) {
    let mut definition = Definition::new(&action.name, &action.file);
    for verb in Verb::ALL {
        let text = action.commands.get(&format!("action{}", verb.name())).and_then(|text| text.as_str());
        if let Some(text) = text {
            definition.commands.insert(verb, text.to_owned());
        }
    }
    let switch = |name: &str| action.commands.get(name).and_then(|value| value.as_bool());
    definition.on_demand = switch("actionstart_on_demand");
    definition.repair_on_unban = switch("actionrepair_on_unban").unwrap_or(false);
    definition.norestored = switch("norestored").unwrap_or(false);
    definition.tags = action.tags.clone();
    let mut wrong = None;
    if let Some(text) = definition.tags.remove("timeout") {
        match crate::fail2ban::time::seconds(&text) {
            Some(seconds) if seconds > 0.0 => {
                definition.timeout = Duration::from_secs_f64(seconds.min(86_400.0))
            }
            _ => {
                wrong = Some(format!(
                    "timeout \"{text}\" is no duration; {} s is taken",
                    TIMEOUT_DEFAULT.as_secs()
                ));
            }
        }
    }
    (Arc::new(definition), wrong)
}
