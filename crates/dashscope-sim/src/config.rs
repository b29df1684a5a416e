//! What the simulator may be told: every setting, its default, and where the default comes from.
//!
//! Pure data. [`Config::from_toml`] refuses unknown keys. "Model Studio" below is Alibaba Cloud's documentation.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultError};
use crate::latency::Latency;
use crate::model::{Model, SizeClass};

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

/// An API key of the account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The key itself.
    pub key: String,
    /// What the task list shows for it.
    pub api_key_id: String,
    /// The region it belongs to; absent: this one. A key of another region is refused with 401.
    #[serde(default)]
    pub region: Option<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("key", &"[redacted]")
            .field("api_key_id", &self.api_key_id)
            .field("region", &self.region)
            .finish()
    }
}

/// The limits of the account, shared by all its keys. 0 stands for "no limit" everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Creations a second, per model, synchronous ones included.
    /// Default 5. Source: Model Studio, "Rate limits", Wan series.
    pub creates_per_second: u32,
    /// Over how many milliseconds the creation rate is counted. Default 1000. Smaller refuses bursts that the whole
    /// second would allow; Model Studio warns that limits may be enforced over shorter times.
    pub create_window_ms: u32,
    /// Tasks processed at once, per model. Default 5. Source: Model Studio, "Rate limits", Wan series.
    pub tasks_at_once: u32,
    /// Tasks PENDING at once, per model; one more is refused with 429. Default 50. The quotas endpoint has such a
    /// figure (`async_user_queue_limit`), but no page states it for these models.
    pub pending_max: u32,
    /// Queries, lists and cancels a second, together. Default 20. Source: Model Studio, "Manage asynchronous tasks".
    pub queries_per_second: u32,
    /// Upload policies a second. Default 100. Source: Model Studio, "Upload local files", per account and model; the
    /// simulator counts both models together.
    pub upload_policies_per_second: u32,
    /// The largest page of the task list; more is cut to it. Default 100; no page states one.
    pub list_page_max: u32,
    /// How long after its creation a task appears in the list, in milliseconds. Default 0; no page states one.
    pub list_lag_ms: u64,
    /// The `Retry-After` of a refused call, in seconds; 0 (the default) sends none. It is undocumented but seen.
    pub retry_after_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            creates_per_second: 5,
            create_window_ms: 1_000,
            tasks_at_once: 5,
            pending_max: 50,
            queries_per_second: 20,
            upload_policies_per_second: 100,
            list_page_max: 100,
            list_lag_ms: 0,
            retry_after_s: 0,
        }
    }
}

impl Limits {
    /// No limit of any kind but on tasks processed at once: for measuring a client at full speed.
    pub fn unlimited(tasks_at_once: u32) -> Self {
        Self {
            creates_per_second: 0,
            tasks_at_once,
            pending_max: 0,
            queries_per_second: 0,
            upload_policies_per_second: 0,
            list_page_max: 1_000,
            ..Self::default()
        }
    }
}

/// Limits of one model where they differ from [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelLimits {
    /// See [`Limits::creates_per_second`].
    pub creates_per_second: Option<u32>,
    /// See [`Limits::tasks_at_once`].
    pub tasks_at_once: Option<u32>,
    /// See [`Limits::pending_max`].
    pub pending_max: Option<u32>,
}

/// How long tasks run once they have a slot, and how long they wait for nothing but the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Durations {
    /// `wan2.7-image-pro`. Defaults: 2K as the samples of the API page (12 to 21 s); 1K and 4K estimated from it.
    pub pro: BySize,
    /// `wan2.7-image`, "faster generation speed". Estimated.
    pub standard: BySize,
    /// Each further image of a set lengthens its task by this share. Default 0.5, which puts sets of four between the
    /// two samples of the API page (25 s and 60 s).
    pub set_image_share: f64,
    /// From creation to the earliest start, in milliseconds. Default 45. Source: `scheduled_time` minus `submit_time` in
    /// the samples of the API page (37 to 53 ms).
    pub schedule_ms: u64,
    /// Multiplies all of the above but `schedule_ms`. Default 1; a demonstration may set 0.05.
    pub scale: f64,
}

impl Default for Durations {
    fn default() -> Self {
        let spread = |p5_ms, p95_ms| Latency::LogNormal { p5_ms, p95_ms };
        Self {
            pro: BySize { k1: spread(8_000, 15_000), k2: spread(12_000, 22_000), k4: spread(20_000, 60_000) },
            standard: BySize {
                k1: spread(5_000, 10_000),
                k2: spread(8_000, 15_000),
                k4: spread(8_000, 15_000),
            },
            set_image_share: 0.5,
            schedule_ms: 45,
            scale: 1.0,
        }
    }
}

impl Durations {
    /// Every task runs for `ms`, sets as well.
    pub fn fixed_ms(ms: u64) -> Self {
        let all = BySize::all(Latency::Fixed { ms });
        Self { pro: all.clone(), standard: all, set_image_share: 0.0, ..Self::default() }
    }

    pub(crate) fn of(&self, model: Model, size: SizeClass) -> Latency {
        let table = match model {
            Model::Pro => &self.pro,
            Model::Standard => &self.standard,
        };
        match size {
            SizeClass::K1 => table.k1,
            SizeClass::K2 => table.k2,
            SizeClass::K4 => table.k4,
        }
    }
}

/// Durations by picture size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BySize {
    /// Up to 1024×1024 pixels.
    #[serde(rename = "1k")]
    pub k1: Latency,
    /// Up to 2048×2048 pixels.
    #[serde(rename = "2k")]
    pub k2: Latency,
    /// More.
    #[serde(rename = "4k")]
    pub k4: Latency,
}

impl BySize {
    /// The same for every size.
    pub fn all(latency: Latency) -> Self {
        Self { k1: latency, k2: latency, k4: latency }
    }
}

/// How long the service keeps things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// From a task's creation until it answers UNKNOWN, in seconds.
    /// Default 86400. Source: the API page, "Task executed successfully" (24 hours).
    pub task_s: u64,
    /// From a task's end until its links die, in seconds. Default 86400. Source: the API page, `image` (24 hours).
    pub link_s: u64,
    /// Whether a query signs links anew, valid for `link_s` from then on. Default false; unknown for the service.
    pub resign_links: bool,
    /// How long an uploaded input lives, in seconds. Default 172800. Source: Model Studio, "Upload local files" (48 h).
    pub upload_s: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { task_s: 86_400, link_s: 86_400, resign_links: false, upload_s: 172_800 }
    }
}

/// The pictures that tasks end with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pictures {
    /// Bytes per pixel that each file is filled up to. 0 (the default) leaves the picture at its few kilobytes; 2 makes
    /// a 2048×2048 picture weigh 8.4 MB, about what a photograph-like PNG of that size weighs.
    pub bytes_per_pixel: f64,
}

impl Pictures {
    /// Files as heavy as real ones.
    pub const REAL_WEIGHT: Self = Self { bytes_per_pixel: 2.0 };
}

impl Default for Pictures {
    fn default() -> Self {
        Self { bytes_per_pixel: 0.0 }
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
