//! The JSON of the service's answers, after the response samples of the API page. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::draw::Uuid;
use crate::model::Model;
use crate::world::{CodeField, Issued, Page, State, Task};

/// The answer to an accepted asynchronous create call.
pub(crate) fn created(task: &Task) -> Value {
    let output = json!({ "task_id": task.id.to_string(), "task_status": "PENDING" });
    finish(json!({ "request_id": task.request_id.to_string(), "output": output }), task)
}

/// The answer to a query. `links` are those of the images it made.
pub(crate) fn status(task: &Task, request_id: Uuid, links: &[String]) -> Value {
    let shape = task.shape();
    if let (State::Failed, Some(failure)) = (task.state, &shape.failure)
        && failure.flat
    {
        return error(request_id, &failure.code, &failure.message);
    }
    let mut output = Map::new();
    output.insert("task_id".into(), json!(task.id.to_string()));
    output.insert("task_status".into(), json!(task.state.name()));
    let times = [
        ("submit_time", Some(task.created_ms)),
        ("scheduled_time", task.started_ms),
        ("end_time", task.ended_ms),
    ];
    for (name, at_ms) in times {
        if let Some(at_ms) = at_ms {
            output.insert(name.into(), json!(china_time(at_ms, !shape.without_millis)));
        }
    }
    let mut answer = json!({ "request_id": request_id.to_string() });
    match task.state {
        State::Succeeded => {
            output.extend(result(task, links));
            answer["usage"] = usage(task);
        }
        State::Failed => {
            if let Some(failure) = &shape.failure {
                output.insert("code".into(), json!(failure.code));
                output.insert("message".into(), json!(failure.message));
            }
        }
        State::Pending | State::Running | State::Canceled => {}
    }
    answer["output"] = Value::Object(output);
    finish(answer, task)
}

/// The answer to a synchronous call whose task succeeded.
pub(crate) fn generated(task: &Task, links: &[String]) -> Value {
    let answer = json!({
        "request_id": task.request_id.to_string(),
        "output": Value::Object(result(task, links)),
        "usage": usage(task),
    });
    finish(answer, task)
}

/// The answer about a task that the service does not know, or pretends not to know.
pub(crate) fn state_only(shown_id: &str, state: &str, request_id: Uuid) -> Value {
    json!({ "request_id": request_id.to_string(), "output": { "task_id": shown_id, "task_status": state } })
}

/// A flat error body.
pub(crate) fn error(request_id: Uuid, code: &str, message: &str) -> Value {
    json!({ "request_id": request_id.to_string(), "code": code, "message": message })
}

/// A page of the task list: flat, times in epoch milliseconds, neither links nor errors.
pub(crate) fn page(page: &Page<'_>, request_id: Uuid, config: &Config) -> Value {
    let data: Vec<Value> = page.tasks.iter().map(|task| listed(task, config)).collect();
    json!({
        "request_id": request_id.to_string(),
        "data": data,
        "page_no": page.page_no,
        "page_size": page.page_size,
        "total": page.total,
        "total_page": page.total.div_ceil(page.page_size),
    })
}

/// The limits endpoint's answer. Source of the fields: Model Studio, "List quotas".
pub(crate) fn quotas(models: &[Model], config: &Config, page_no: usize, page_size: usize, id: Uuid) -> Value {
    let of = |model: &Model| {
        let limit = json!({
            "request_limit": config.creates_per_second(*model),
            "request_limit_period": 1,
            "usage_limit": null,
            "usage_limit_field": null,
            "usage_limit_period": null,
            "async_user_queue_limit": config.pending_max(*model),
            "async_user_concurrency_limit": config.tasks_at_once(*model),
        });
        json!({ "model": model.name(), "workspace_id": "ws-simulated", "model_limit": limit, "workspace_limit": null })
    };
    let skip = page_no.saturating_sub(1).saturating_mul(page_size);
    let shown: Vec<Value> = models.iter().skip(skip).take(page_size).map(of).collect();
    json!({
        "request_id": id.to_string(),
        "output": { "quotas": shown, "page_no": page_no, "page_size": page_size, "total": models.len() },
    })
}

/// An upload policy. Source of the fields: Model Studio, "Upload local files", and the official SDK that reads them.
pub(crate) fn policy(issued: &Issued, origin: &str, request_id: Uuid) -> Value {
    json!({
        "request_id": request_id.to_string(),
        "data": {
            "policy": issued.policy,
            "signature": issued.signature,
            "upload_dir": issued.dir,
            "upload_host": format!("{origin}{}", crate::link::UPLOAD_HOST),
            "expire_in_seconds": crate::world::POLICY_S,
            "max_file_size_mb": 1_024,
            "capacity_limit_mb": 999_999_999,
            "oss_access_key_id": crate::world::ACCESS_KEY_ID,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        },
    })
}

/// A moment as the service writes it: UTC+8, without saying so.
pub(crate) fn china_time(at_ms: i64, millis: bool) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    let there = at.saturating_add(SignedDuration::from_hours(8)).unwrap_or(Timestamp::MAX);
    let form = if millis { "%Y-%m-%d %H:%M:%S.%3f" } else { "%Y-%m-%d %H:%M:%S" };
    there.strftime(form).to_string()
}

/// `choices` and `finished`: one choice with all images for a set, else one choice per image.
fn result(task: &Task, links: &[String]) -> Map<String, Value> {
    let shape = task.shape();
    let mut items: Vec<Value> = links.iter().map(|link| json!({ "image": link, "type": "image" })).collect();
    if shape.text_item {
        items.insert(0, json!({ "text": "The pictures follow.", "type": "text" }));
    }
    let together = task.sequential || shape.one_choice;
    let contents: Vec<Vec<Value>> = match together {
        true if items.is_empty() => Vec::new(),
        true => vec![items],
        // A text stands in the same choice as the first image.
        false if shape.text_item => {
            let mut rest =
                items.split_off(items.len().min(2)).into_iter().map(|item| vec![item]).collect::<Vec<_>>();
            rest.insert(0, items);
            rest
        }
        false => items.into_iter().map(|item| vec![item]).collect(),
    };
    let choices = contents.into_iter().map(
        |content| json!({ "finish_reason": "stop", "message": { "role": "assistant", "content": content } }),
    );
    let mut output = Map::new();
    output.insert("choices".into(), choices.collect());
    output.insert("finished".into(), json!(true));
    output
}

/// Token figures in the manner of the samples: 720 and 11 for a set of four, 18790 and 2 for an edit of two images.
fn usage(task: &Task) -> Value {
    let input_tokens = 720 + 9_035 * u32::from(task.input_images);
    let output_tokens = 3 * u32::from(task.makes.max(1)) - 1;
    json!({
        "image_count": task.makes,
        "size": format!("{}*{}", task.width, task.height),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    })
}

fn listed(task: &Task, config: &Config) -> Value {
    let mut entry = json!({
        "task_id": task.id.to_string(),
        "status": task.state.name(),
        "model_name": task.model.name(),
        "request_id": task.request_id.to_string(),
        "gmt_create": task.created_ms,
        "start_time": task.started_ms.unwrap_or(task.created_ms),
        "region": config.region,
        "api_key_id": task.api_key_id,
        "caller_uid": "1000000000000001",
        "caller_parent_id": "1000000000000001",
        "user_api_unique_key": format!("apikey:v1:aigc:image-generation:generation:{}", task.model),
    });
    if let Some(ended_ms) = task.ended_ms {
        entry["end_time"] = json!(ended_ms);
    }
    entry
}

/// What a fault adds to an answer without an error.
fn finish(mut answer: Value, task: &Task) -> Value {
    let shape = task.shape();
    let code = match shape.code {
        CodeField::Missing => None,
        CodeField::Null => Some(Value::Null),
        CodeField::Empty => Some(json!("")),
    };
    if let Some(code) = code {
        answer["code"] = code.clone();
        answer["message"] = code;
    }
    if shape.extra_fields {
        let extra = json!({ "since": "a later version", "list": [1, null, { "deep": true }] });
        answer["x_unknown"] = extra.clone();
        for part in ["output", "usage"] {
            if let Some(Value::Object(part)) = answer.get_mut(part) {
                part.insert("x_unknown".into(), extra.clone());
            }
        }
        if let Some(Value::Array(choices)) = answer.pointer_mut("/output/choices") {
            choices.iter_mut().for_each(|choice| choice["x_unknown"] = extra.clone());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_china_and_do_not_say_so() {
        assert_eq!(china_time(1_774_958_400_005, true), "2026-03-31 20:00:00.005");
        assert_eq!(china_time(1_774_958_400_005, false), "2026-03-31 20:00:00");
    }
}
