//! Work whose links die at mixed times: what is enqueued, and the faults by which the simulator plays along.

use std::time::Duration;

use dashscope_sim::{Act, Fault, On};
use serde_json::json;

/// Jobs in groups, each with its own life of links.
#[derive(Debug, Clone)]
pub struct Dying {
    /// How many jobs, of one image each.
    pub jobs: usize,
    /// How long the links of each group live. Neighbours in the file are of different groups.
    pub lives: Vec<Duration>,
}

impl Dying {
    /// The group of the job at this place.
    fn group(&self, place: usize) -> usize {
        // Neither the order of lives nor its reverse: 7 has no factor in common with any number of groups that is used.
        place * 7 % self.lives.len()
    }

    /// How long the links of the job with this custom id live.
    pub fn life(&self, custom_id: &str) -> Option<Duration> {
        let place: usize = custom_id.strip_prefix("job-")?.parse().ok()?;
        self.lives.get(self.group(place)).copied()
    }

    /// The lines to enqueue.
    pub fn lines(&self) -> String {
        let line = |place| {
            let prompt = format!("Picture {place}, of group-{:03}.", self.group(place));
            json!({"custom_id": format!("job-{place:06}"), "prompt": prompt, "model": "wan2.7-image", "size": "1K"})
        };
        (0..self.jobs).map(|place| line(place).to_string() + "\n").collect()
    }

    /// The faults: each group's life, and a delay before each download.
    pub fn faults(&self, delay: Duration) -> Vec<Fault> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let life = |(group, life): (usize, &Duration)| {
            Fault::new(On::Task, Act::LinkLives { ms: ms(*life) })
                .prompt_contains(&format!("group-{group:03}."))
        };
        let slow = Fault::new(On::Result, Act::Delay { ms: ms(delay) });
        self.lives.iter().enumerate().map(life).chain([slow]).collect()
    }
}
