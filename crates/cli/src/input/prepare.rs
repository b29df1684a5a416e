//! From a line to a job that can be enqueued, or to everything that is wrong with the line.
//!
//! The same steps run twice over an input: first to judge all of it, then to enqueue what was judged. Both times the same
//! lines give the same jobs, since nothing here depends on time or chance.

use dashscope::request::{box_violations, nearest_name};
use dashscope::{Violation, Warning};
use job::{AccountName, BatchName, CustomId, JobId, JobSpec, KeyTemplate, PinnedTo, RegionName, SPEC_FORMAT};
use serde_json::Value;

use super::body::path_in_line;
use super::columns;
use super::fault::Fault;
use super::images::{Images, Upload, stand_in};
use super::json;
use super::line::{self, Defaults, Wanted};
use super::names::{Names, Unnamed};
use super::rows::Row;
use super::template::Template;

/// What lines are judged by.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The batch that the jobs go to.
    pub(crate) batch: Option<BatchName>,
    /// Where the images of refreshed items go, if they are that: every line must then say which item it is.
    pub(crate) collection: Option<BatchName>,
    /// The namespace, which job ids depend on.
    pub(crate) namespace: String,
    /// What flags say for lines that do not say otherwise.
    pub(crate) defaults: Defaults,
    /// The accounts that a line may name.
    pub(crate) accounts: Vec<AccountName>,
    /// The regions that they stand in.
    pub(crate) regions: Vec<RegionName>,
    /// The keys of images.
    pub(crate) template: KeyTemplate,
    /// What makes the prompts, where lines do not have them.
    pub(crate) prompts: Option<Template>,
}

/// A job that can be enqueued.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What it asks for.
    pub(crate) spec: JobSpec,
    /// Images that have to be in the bucket before.
    pub(crate) uploads: Vec<Upload>,
    /// What is allowed and does not do what it seems to.
    pub(crate) warnings: Vec<Warning>,
}

/// Prepares lines, one after the other, in their order.
#[derive(Debug)]
pub(crate) struct Preparer<'a> {
    rules: &'a Rules,
    images: &'a mut Images,
    /// The line of each job, in the first pass. Lines without a `custom_id` have one by then.
    names: Option<Names>,
    unnamed: Unnamed,
}

impl<'a> Preparer<'a> {
    /// Begins with the first line of the first pass.
    pub(crate) fn new(rules: &'a Rules, images: &'a mut Images) -> Self {
        Self { rules, images, names: Some(Names::default()), unnamed: Unnamed::default() }
    }

    /// Begins with the first line of the second pass: which lines name a job that has one already is known by then.
    pub(crate) fn again(rules: &'a Rules, images: &'a mut Images) -> Self {
        Self { names: None, ..Self::new(rules, images) }
    }

    /// Judges a row.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at least one fault.
    pub(crate) fn row(&mut self, number: u64, row: &Row<'_>) -> Result<Prepared, Vec<Fault>> {
        let whole = |rule: String, hint| Err(vec![Fault::of_line(number, rule, hint)]);
        let mut found = Vec::new();
        let object = match row {
            Row::Unusable(rule, hint) => return whole(rule.clone(), Some(hint)),
            Row::Cells(columns, cells) => {
                let prompts = self.rules.prompts.as_ref();
                columns::object(columns, cells.iter().copied(), prompts, &mut found)
            }
            Row::Json(text) => match json::parse(text) {
                Ok(Value::Object(object)) => object,
                Ok(_) => {
                    let hint = Some("each line must be one JSON object");
                    return whole("it is JSON, but no object".to_owned(), hint);
                }
                Err(fault) => {
                    let rule = format!("not JSON: {} at column {}", fault.what, fault.column);
                    return whole(rule, Some(self.not_json(number, text)));
                }
            },
        };
        let wanted = line::read(&object, &self.rules.defaults, self.rules.prompts.as_ref(), &mut found);
        let custom_id =
            object.get("custom_id").and_then(Value::as_str).map(|id| id.chars().take(80).collect::<String>());
        let prepared = wanted.map(|wanted| self.judge(number, wanted, &mut found));
        match prepared {
            Some(prepared) if found.is_empty() => Ok(prepared),
            _ => Err(found
                .into_iter()
                .map(|fault| Fault::of_field(number, custom_id.clone(), fault))
                .collect()),
        }
    }

    /// What to try with a line that is no JSON.
    fn not_json(&self, number: u64, text: &str) -> &'static str {
        let columns = text.split(',').map(str::trim);
        if number == 1 && !text.trim_start().starts_with(['{', '[']) && columns.clone().count() > 1 {
            "if this is CSV, say --format csv"
        } else {
            "each line must be one JSON object"
        }
    }

    fn judge(&mut self, number: u64, wanted: Wanted, found: &mut Vec<Violation>) -> Prepared {
        let Wanted { custom_id, mut request, images, priority, pinned_to, not_before, from_body } = wanted;
        if let Some(pinned_to) = &pinned_to {
            self.refuse_unknown_place(pinned_to, found);
        }
        let (account, region) = match pinned_to {
            Some(PinnedTo::Account(account)) => (Some(account), None),
            Some(PinnedTo::Region(region)) => (None, Some(region)),
            None => (None, None),
        };
        // What could not be read was said. What follows from it would only confuse.
        let unread: Vec<String> = found.iter().map(|fault| root(&fault.field).to_owned()).collect();
        let (mut kept, mut facts, mut uploads) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (field, text)) in images.iter().enumerate() {
            match self.images.look(index, field, text) {
                Ok(looked) => {
                    kept.push(looked.image);
                    facts.push(looked.facts);
                    uploads.extend(looked.upload);
                }
                Err(violation) => {
                    facts.push(None);
                    found.push(violation);
                }
            }
        }
        request.images = images.iter().map(|_| stand_in()).collect();
        let (warnings, mut violations) = match request.check() {
            Ok(warnings) => (warnings, Vec::new()),
            Err(violations) => (Vec::new(), violations.into_vec()),
        };
        // Of an image that is at hand more is known than `check` could see.
        for (index, facts) in facts.iter().enumerate() {
            let Some(facts) = facts else { continue };
            let boxes = request.bbox_list.as_ref().and_then(|lists| lists.get(index));
            let at = format!("bbox_list[{index}]");
            violations
                .retain(|violation| violation.field != at && !violation.field.starts_with(&format!("{at}[")));
            violations.extend(box_violations(index, boxes.map_or(&[], Vec::as_slice), Some(facts)));
        }
        violations.retain(|violation| {
            let field = root(&violation.field);
            let follows = field == "bbox_list" && unread.iter().any(|unread| unread == "images");
            !follows && !unread.iter().any(|unread| unread == field)
        });
        found.extend(
            violations
                .into_iter()
                .map(|violation| Violation { field: path_in_line(&violation.field, from_body), ..violation }),
        );
        request.images.clear();
        let mut spec = JobSpec {
            format: SPEC_FORMAT,
            batch: self.rules.batch.clone(),
            custom_id,
            request,
            images: kept,
            priority,
            account,
            region,
            not_before,
            refresh: None,
        };
        if self.rules.collection.is_some() && spec.custom_id.is_none() {
            found.push(Violation::new(
                "custom_id",
                "missing",
                "an item that is refreshed needs a name that stays",
            ));
        }
        if found.is_empty() {
            self.name(&mut spec);
            self.refuse_second(number, &spec, found);
            self.refuse_unusable_key(&spec, found);
        }
        Prepared { spec, uploads, warnings }
    }

    /// A job for an account or a region that the settings do not know would wait for ever.
    fn refuse_unknown_place(&self, pinned_to: &PinnedTo, found: &mut Vec<Violation>) {
        let (field, wanted, known): (_, &str, Vec<&str>) = match pinned_to {
            PinnedTo::Account(account) => {
                ("account", account.as_str(), self.rules.accounts.iter().map(AccountName::as_str).collect())
            }
            PinnedTo::Region(region) => {
                ("region", region.as_str(), self.rules.regions.iter().map(RegionName::as_str).collect())
            }
        };
        if known.contains(&wanted) {
            return;
        }
        let rule = match known.as_slice() {
            [] => format!("no account of the settings has a {field}"),
            known => format!("the settings know {}", known.join(", ")),
        };
        let mut violation = Violation::new(field, format_args!("`{wanted}`"), rule);
        violation.hint = nearest_name(wanted, &known).map(|near| format!("did you mean `{near}`?"));
        found.push(violation);
    }

    /// Gives a job of a batch a `custom_id` where its line has none: from what it asks for, so that the same file enqueued
    /// twice is not paid for twice. Equal lines are told apart by their order.
    fn name(&mut self, spec: &mut JobSpec) {
        if spec.custom_id.is_some() || spec.batch.is_none() {
            return;
        }
        let name = self.unnamed.name(&spec.digest());
        spec.custom_id = Some(CustomId::parse(&name).expect("hex digits behind a word are a custom_id"));
    }

    fn refuse_second(&mut self, number: u64, spec: &JobSpec, found: &mut Vec<Violation>) {
        let (Some(names), Some(custom_id)) = (&mut self.names, &spec.custom_id) else { return };
        let id = JobId::of_custom_id(&self.rules.namespace, spec.batch.as_ref(), custom_id);
        if let Some(first) = names.first_line(id, number) {
            let rule = format!("line {first} has it already, and it names one job of a batch");
            found.push(Violation::new("custom_id", format_args!("`{custom_id}`"), rule));
        }
    }

    /// The key of the job's last image is the longest.
    fn refuse_unusable_key(&self, spec: &JobSpec, found: &mut Vec<Violation>) {
        let last = spec.images_max().saturating_sub(1);
        let id = JobId::fresh(0, 0);
        let folder = self.rules.collection.as_ref().or(spec.batch.as_ref());
        let stable = self.rules.template.key(folder, spec.custom_id.as_ref(), id, last);
        let longest = match &self.rules.collection {
            // Its versions have longer keys.
            Some(_) => stable.and_then(|stable| KeyTemplate::version_key(&stable, id)),
            None => stable,
        };
        if let Err(error) = longest {
            let rule = format!("the keys of its images would not do: {error}");
            found.push(Violation::new("custom_id", "unusable", rule).with_hint("take a shorter one"));
        }
    }
}

/// The field of the line that a path begins with.
fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// How many images of a job are uploaded by us.
#[cfg(test)]
fn stored(spec: &JobSpec) -> usize {
    spec.images.iter().filter(|image| matches!(image, job::InputImage::Stored { .. })).count()
}

#[cfg(test)]
mod tests;
