//! What the simulator may be told: every setting, its default, and where the default comes from.
//!
//! Pure data. [`Config::from_toml`] refuses unknown keys. "Model Studio" below is Alibaba Cloud's documentation.

mod parts;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultError};
use crate::latency::Latency;
use crate::model::Model;
pub use parts::{BySize, Durations, Key, Limits, ModelLimits, Pictures, Retention};

/// The settings of one simulator: one main account in one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The source of all chance. Same seed and same calls, same output. Default 7.
    pub seed: u64,
    /// Where to listen. Port 0 picks a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Host and scheme of the links the simulator hands out, such as `http://sim.test:8080`. Default: what the
    /// request's `Host` header says, so that links work through a container's name as well.
    pub public_url: Option<String>,
    /// The region this host stands for. Keys of another one are refused, as the API page warns.
    /// Default `ap-southeast-1` (Singapore).
    pub region: String,
    /// The keys of the account. Empty (the default): any key that begins with `sk-` is accepted, except `sk-sp-`, the
    /// form of plan keys, which the real hosts refuse as well.
    pub keys: Vec<Key>,
    /// Limits, for each model alike and for the account.
    pub limits: Limits,
    /// Other limits for one model, by its name on the wire.
    pub models: BTreeMap<Model, ModelLimits>,
    /// How long tasks take.
    pub durations: Durations,
    /// How long a create call takes to answer. The task exists from the start of that time. Default none: the provider
    /// gives no figure.
    pub create_latency: Latency,
    /// Lifetimes of tasks and links.
    pub retention: Retention,
    /// The pictures.
    pub pictures: Pictures,
    /// The share of image sets that end with fewer images than asked for, 0 to 1. Default 0.25; the API page says only
    /// that the model decides the number.
    pub set_shortfall: f64,
    /// Whether input links on loopback are fetched and looked at. Links to other hosts are never fetched.
    /// Default true.
    pub fetch_loopback_inputs: bool,
    /// Faults from the start. See [`Fault`].
    pub faults: Vec<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 7,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            region: "ap-southeast-1".to_owned(),
            keys: Vec::new(),
            limits: Limits::default(),
            models: BTreeMap::new(),
            durations: Durations::default(),
            create_latency: Latency::Fixed { ms: 0 },
            retention: Retention::default(),
            pictures: Pictures::default(),
            set_shortfall: 0.25,
            fetch_loopback_inputs: true,
            faults: Vec::new(),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not TOML, or a key or value that the simulator does not know.
    #[error("the settings cannot be read")]
    Unreadable {
        /// Line and reason.
        source: toml::de::Error,
    },
    /// A number outside its range.
    #[error("`{field}` must be {rule}, not {value}")]
    OutOfRange {
        /// The setting.
        field: &'static str,
        /// The range, in words.
        rule: &'static str,
        /// What was given.
        value: f64,
    },
    /// A fault that cannot happen where it was put.
    #[error("fault number {number} cannot be used")]
    Fault {
        /// Its place in the list, from 1.
        number: usize,
        /// The reason.
        source: FaultError,
    },
}

impl Config {
    /// Reads a configuration file. Keys that are left out keep their defaults.
    ///
    /// # Errors
    /// If the text is not TOML, has an unknown key, or a value out of range.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|source| ConfigError::Unreadable { source })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the types cannot: shares, scales, and which fault may happen where.
    ///
    /// # Errors
    /// For the first value that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let in_range = |field, rule, value: f64, ok: bool| match ok {
            true => Ok(()),
            false => Err(ConfigError::OutOfRange { field, rule, value }),
        };
        let share = self.set_shortfall;
        in_range("set_shortfall", "between 0 and 1", share, (0.0..=1.0).contains(&share))?;
        let scale = self.durations.scale;
        in_range("durations.scale", "between 0 and 1000", scale, (0.0..=1_000.0).contains(&scale))?;
        let longer = self.durations.set_image_share;
        in_range("durations.set_image_share", "between 0 and 100", longer, (0.0..=100.0).contains(&longer))?;
        let weight = self.pictures.bytes_per_pixel;
        in_range("pictures.bytes_per_pixel", "between 0 and 8", weight, (0.0..=8.0).contains(&weight))?;
        let window = f64::from(self.limits.create_window_ms);
        in_range(
            "limits.create_window_ms",
            "between 1 and 60000",
            window,
            (1.0..=60_000.0).contains(&window),
        )?;
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check().map_err(|source| ConfigError::Fault { number: index + 1, source })?;
        }
        Ok(())
    }

    pub(crate) fn creates_per_second(&self, model: Model) -> u32 {
        self.model(model)
            .and_then(|limits| limits.creates_per_second)
            .unwrap_or(self.limits.creates_per_second)
    }

    pub(crate) fn tasks_at_once(&self, model: Model) -> u32 {
        self.model(model).and_then(|limits| limits.tasks_at_once).unwrap_or(self.limits.tasks_at_once)
    }

    pub(crate) fn pending_max(&self, model: Model) -> u32 {
        self.model(model).and_then(|limits| limits.pending_max).unwrap_or(self.limits.pending_max)
    }

    fn model(&self, model: Model) -> Option<&ModelLimits> {
        self.models.get(&model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SizeClass;

    #[test]
    fn a_file_may_set_few_things_and_leave_the_rest() {
        let config = Config::from_toml(
            r#"
            seed = 11
            [limits]
            creates_per_second = 50
            [models."wan2.7-image"]
            tasks_at_once = 9
            [durations.pro]
            1k = { fixed = { ms = 10 } }
            2k = { log_normal = { p5_ms = 20, p95_ms = 40 } }
            4k = { fixed = { ms = 30 } }
            "#,
        )
        .unwrap();
        assert_eq!(config.seed, 11);
        assert_eq!(config.creates_per_second(Model::Pro), 50);
        assert_eq!((config.tasks_at_once(Model::Pro), config.tasks_at_once(Model::Standard)), (5, 9));
        assert_eq!(config.durations.of(Model::Pro, SizeClass::K4), Latency::Fixed { ms: 30 });
        assert_eq!(config.limits.queries_per_second, 20);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Config::from_toml("seed = 1\nsede = 2").unwrap_err();
        let ConfigError::Unreadable { source } = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("line 2"), "{source}");
    }

    #[test]
    fn the_defaults_survive_a_round_through_toml() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(Config::from_toml(&text).unwrap(), Config::default());
    }

    #[test]
    fn a_share_above_one_is_refused_by_name() {
        let error = Config::from_toml("set_shortfall = 1.5").unwrap_err();
        assert_eq!(error.to_string(), "`set_shortfall` must be between 0 and 1, not 1.5");
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = Key { key: "sk-secret".into(), api_key_id: "1".into(), region: None };
        assert!(!format!("{key:?}").contains("secret"));
    }
}
