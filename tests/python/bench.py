"""Calls with a first look at their answers: what every check below needs again and again."""

import re
import urllib.request
from urllib.parse import urlsplit

from dashscope.aigc.image_generation import ImageGeneration

import pictures

PRO = "wan2.7-image-pro"
STANDARD = "wan2.7-image"

# The pixels of 1K in the shape of an input of 600 by 400.
K1_OF_3_TO_2 = (1254, 836)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def user(*content):
    """The one message of a request. Made anew for each call, since the SDK writes into it."""
    return [{"role": "user", "content": list(content)}]


def brief(answer):
    """An answer without its links."""
    state = (answer.output or {}).get("task_status")
    return f"status {answer.status_code}, code {answer.code!r}, message {answer.message!r}, task {state}"


def check_ok(answer):
    """The parts that every accepted call has in common."""
    assert answer.status_code == 200, brief(answer)
    assert not answer.code and not answer.message, brief(answer)
    assert _UUID.fullmatch(answer.request_id), f"request id {answer.request_id!r}"


def check_refused(answer, status, code):
    """The shape of an error: a code, a text, a request id, and no output."""
    assert answer.status_code == status and answer.code == code, brief(answer)
    assert answer.message and not answer.output, brief(answer)
    assert _UUID.fullmatch(answer.request_id), f"request id {answer.request_id!r}"


def check_state(answer, state, *times):
    """A query's answer: this state, and exactly these times."""
    check_ok(answer)
    assert answer.output.task_status == state, brief(answer)
    shown = {name for name in ("submit_time", "scheduled_time", "end_time") if name in answer.output}
    assert shown == set(times), f"{state} shows {shown}"
    for name in times:
        text = answer.output[name]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", text), f"{name} is {text!r}"


class Bench:
    """A simulator, the books, and the calls that go into them."""

    def __init__(self, simulator, account, folder):
        self.simulator = simulator
        self.account = account
        self.folder = folder

    def call(self, model, *content, **parameters):
        """A synchronous call that is accepted."""
        return self.called(ImageGeneration.call(model=model, messages=user(*content), **parameters))

    def called(self, answer):
        """Enters the answer of an accepted synchronous call."""
        self.account.count("sync_creates")
        check_ok(answer)
        assert "task_id" not in answer.output, brief(answer)
        self.account.created(answer.request_id, None)
        return answer

    def async_call(self, model, *content, **parameters):
        """An asynchronous call that is accepted."""
        return self.async_called(
            ImageGeneration.async_call(model=model, messages=user(*content), **parameters)
        )

    def async_called(self, answer):
        """Enters the answer of an accepted asynchronous call."""
        self.account.count("creates")
        check_ok(answer)
        assert answer.output.task_status == "PENDING", brief(answer)
        assert _UUID.fullmatch(answer.output.task_id), f"task id {answer.output.task_id!r}"
        self.account.created(answer.request_id, answer.output.task_id)
        return answer

    def upload(self, name, file):
        """A `file://` link to a local file that the next call will upload."""
        path = self.folder / name
        path.write_bytes(file)
        self.account.count("uploads")
        return path.as_uri()

    def check_waited(self, created, answer, images, size, in_one_choice=False):
        """The answer of `wait` or `fetch` for a task that succeeded. Returns the links."""
        check_state(answer, "SUCCEEDED", "submit_time", "scheduled_time", "end_time")
        assert answer.output.task_id == created.output.task_id, brief(answer)
        return self.check_images(created.request_id, answer, images, size, in_one_choice)

    def check_called(self, answer, images, size, in_one_choice=False):
        """The answer of a synchronous call. Returns the links."""
        return self.check_images(answer.request_id, answer, images, size, in_one_choice)

    def check_images(self, request_id, answer, images, size, in_one_choice):
        """So many images of this size (width, height), each a sound PNG behind its link. A set stands in one
        choice; other images have one each. Returns the links."""
        output, usage = answer.output, answer.usage
        assert output.finished is True, brief(answer)
        assert len(output.choices) == (1 if in_one_choice else images), f"{len(output.choices)} choices"
        for choice in output.choices:
            assert choice.finish_reason == "stop", f"a choice ends with {choice.finish_reason!r}"
            assert choice.message.role == "assistant", f"a choice is of {choice.message.role!r}"
            count = len(choice.message.content)
            assert count == (images if in_one_choice else 1), f"{count} items in a choice"
        items = [item for choice in output.choices for item in choice.message.content]
        assert all(item["type"] == "image" for item in items), "an item is no image"
        assert usage.image_count == images, f"usage counts {usage.image_count} images"
        assert usage.size == "{}*{}".format(*size), f"usage says {usage.size}"
        tokens = usage.input_tokens + usage.output_tokens
        assert usage.total_tokens == tokens > 0, f"{usage.total_tokens} tokens"
        links = [item["image"] for item in items]
        files = [self.download(link) for link in links]
        assert len(set(files)) == images, "two images are the same"
        for file in files:
            assert pictures.dimensions(file) == size, f"a picture is {pictures.dimensions(file)}, not {size}"
        self.account.ended(request_id, "SUCCEEDED", files)
        return links

    def download(self, link):
        """The file behind a link, by a bare GET."""
        assert urlsplit(link).hostname == "127.0.0.1", "a link leads away from loopback"
        self.account.count("downloads")
        with urllib.request.urlopen(link, timeout=60) as answer:
            kind = answer.headers["Content-Type"]
            assert answer.status == 200 and kind == "image/png", f"a link brings {answer.status}, {kind}"
            return answer.read()
