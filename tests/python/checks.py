"""The checks of the blocking calls. Each yields a line for each thing that held."""

import datetime
import threading

from dashscope.aigc.image_generation import ImageGeneration
from dashscope.common.error import InvalidInput, UploadFileException

import pictures
from bench import K1_OF_3_TO_2, PRO, STANDARD, brief, check_ok, check_refused, check_state, user

RED, GREEN = (200, 30, 30), (30, 160, 60)
AN_HOUR_S = 3_600
WRONG_KEY = "wrong"


def text_to_image(bench):
    answer = bench.call(
        PRO, {"text": "a lighthouse at dusk"}, size="1K", n=1, watermark=False, thinking_mode=True
    )
    bench.check_called(answer, 1, (1024, 1024))
    yield "call: text-to-image, n = 1"

    answer = bench.call(STANDARD, {"text": "two lighthouses at dawn"}, size="2K", n=2, seed=2147483647)
    bench.check_called(answer, 2, (2048, 2048))
    yield "call: text-to-image, n = 2"

    colours = [("#C2D1E6", "50.00%"), ("#636574", "30.25%"), ("#B5C8DB", "19.75%")]
    palette = [{"hex": colour, "ratio": ratio} for colour, ratio in colours]
    created = bench.async_call(
        PRO, {"text": "一间有着精致窗户的花店"}, size="1280*720", n=2, color_palette=palette, seed=7
    )
    bench.check_waited(created, ImageGeneration.wait(created), 2, (1280, 720))
    yield "async_call, wait: text-to-image, n = 2"

    # Without n the service makes four, which is dear: this is how a caller notices.
    created = bench.async_call(STANDARD, {"text": "as many as the service likes"}, size="1K")
    bench.check_waited(created, ImageGeneration.fetch(created), 4, (1024, 1024))
    yield "async_call, fetch: text-to-image without n"


def editing(bench):
    first = pictures.data_uri(pictures.png(400, 400, RED))
    second = pictures.data_uri(pictures.png(600, 400, GREEN))
    text = {"text": "put the colour of image 2 onto image 1"}
    answer = bench.call(PRO, {"image": first}, {"image": second}, text, size="1K", n=1)
    (link,) = bench.check_called(answer, 1, K1_OF_3_TO_2)
    yield "call: editing two data URIs"

    # The simulator fetches the link, so that must work, and takes the shape of the last image.
    bench.account.count("downloads")
    created = bench.async_call(
        PRO, {"text": "now swap them"}, {"image": first}, {"image": link}, size="1K", n=2
    )
    bench.check_waited(created, ImageGeneration.wait(created), 2, K1_OF_3_TO_2)
    yield "async_call, wait: editing a data URI and the link of a result"

    boxes = [[], [[10, 20, 110, 120], [300, 100, 600, 400]]]
    images = [{"image": first}, {"image": second}]
    answer = bench.call(PRO, *images, {"text": "place image 1 there"}, bbox_list=boxes, size="1K", n=1)
    bench.check_called(answer, 1, K1_OF_3_TO_2)
    yield "call: interactive editing with boxes"

    created = bench.async_call(STANDARD, *images, {"text": "and there"}, bbox_list=boxes, size="1K", n=1)
    bench.check_waited(created, ImageGeneration.wait(created.output.task_id), 1, K1_OF_3_TO_2)
    yield "async_call, wait by id: interactive editing with boxes"


def sets(bench):
    answer = bench.call(PRO, {"text": "the same cat in four seasons"}, enable_sequential=True, n=4, size="1K")
    bench.check_called(answer, 4, (1024, 1024), in_one_choice=True)
    yield "call: image set from text, n = 4"

    image = {"image": pictures.data_uri(pictures.png(600, 400, GREEN))}
    created = bench.async_call(
        STANDARD, image, {"text": "this as a story"}, enable_sequential=True, n=4, size="1K"
    )
    bench.check_waited(created, ImageGeneration.wait(created), 4, K1_OF_3_TO_2, in_one_choice=True)
    yield "async_call, wait: image set from an image, n = 4"


def local_files(bench):
    link = bench.upload("one input.png", pictures.png(600, 400, RED))
    answer = bench.call(PRO, {"image": link}, {"text": "warmer"}, size="1K", n=1)
    bench.check_called(answer, 1, K1_OF_3_TO_2)
    yield "call: editing a file:// input"

    links = [bench.upload(f"{name}.png", pictures.png(600, 400, GREEN)) for name in ("left", "right")]
    content = [{"image": link} for link in links] + [{"text": "both"}]
    created = bench.async_call(STANDARD, *content, size="1K", n=1)
    bench.check_waited(created, ImageGeneration.wait(created), 1, K1_OF_3_TO_2)
    yield "async_call, wait: editing two file:// inputs"

    missing = (bench.folder / "missing.png").as_uri()
    try:
        ImageGeneration.call(model=PRO, messages=user({"image": missing}, {"text": "nothing"}), n=1)
        raise AssertionError("a missing file was taken")
    except InvalidInput:
        yield "call: a file:// input that is missing is refused by the SDK"


def waiting_and_cancelling(bench):
    # This model has one slot: the first task holds it for an hour, the second stays behind it.
    running = bench.async_call(STANDARD, {"text": "an hour of work"}, size="1K", n=1)
    pending = bench.async_call(STANDARD, {"text": "another hour of work: an hour of work"}, size="1K", n=1)
    check_state(ImageGeneration.fetch(running), "RUNNING", "submit_time", "scheduled_time")
    check_state(ImageGeneration.fetch(pending.output.task_id), "PENDING", "submit_time")
    yield "fetch: RUNNING by answer, PENDING by id"

    answer = ImageGeneration.cancel(running)
    check_refused(answer, 400, "UnsupportedOperation")
    check_state(ImageGeneration.fetch(running), "RUNNING", "submit_time", "scheduled_time")
    yield "cancel: a RUNNING task is not cancelled"

    answer = ImageGeneration.cancel(pending)
    check_ok(answer)
    assert not answer.output, "a cancellation has an output"
    check_state(ImageGeneration.wait(pending), "CANCELED", "submit_time", "end_time")
    bench.account.ended(pending.request_id, "CANCELED")
    check_refused(ImageGeneration.cancel(pending.output.task_id), 400, "UnsupportedOperation")
    yield "cancel: a PENDING task is cancelled, and wait ends with it"

    answer = ImageGeneration.wait(running, wait_timeout=1)
    assert answer.status_code == 408 and answer.code == "WaitTaskTimeout", brief(answer)
    yield "wait: gives up after its own time-out, which is no failure of the task"

    waiting = bench.async_call(PRO, {"text": "an hour of work for somebody who waits"}, size="1K", n=1)
    answers = []
    wait = lambda: answers.append(ImageGeneration.wait(waiting, wait_timeout=60))
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    bench.simulator.until_queried(waiting.output.task_id)
    assert not answers, "wait came back from a task that still runs"
    bench.simulator.advance(AN_HOUR_S)
    thread.join()
    bench.check_waited(waiting, answers[0], 1, (1024, 1024))
    bench.check_waited(running, ImageGeneration.fetch(running), 1, (1024, 1024))
    yield "wait: returns once a task that ran has succeeded"

    answer = ImageGeneration.fetch("00000000-0000-4000-8000-000000000000")
    check_state(answer, "UNKNOWN")
    yield "fetch: an id that nobody gave out is UNKNOWN, with status 200"


def failing(bench):
    failed = bench.async_call(PRO, {"text": "something forbidden"}, size="1K", n=2)
    answer = ImageGeneration.wait(failed)
    check_state(answer, "FAILED", "submit_time", "scheduled_time", "end_time")
    output = answer.output
    assert output.code == "DataInspectionFailed" and output.message, f"the failure is called {output.code}"
    assert not output.choices and not answer.usage.get("image_count"), "a failed task has images"
    bench.account.ended(failed.request_id, "FAILED")
    yield "wait: a FAILED task says why, inside the output"

    bench.account.count("sync_creates")
    answer = ImageGeneration.call(
        model=PRO, messages=user({"text": "something forbidden, now"}), size="1K", n=1
    )
    check_refused(answer, 400, "DataInspectionFailed")
    bench.account.created(answer.request_id, None)
    bench.account.ended(answer.request_id, "FAILED")
    yield "call: a task that fails is an error"


def refusals(bench):
    kinds = ((ImageGeneration.call, "sync_creates"), (ImageGeneration.async_call, "creates"))
    for create, kind in kinds:
        wrong = (({"n": 5}, PRO), ({"size": "4K"}, STANDARD), ({"seed": -1}, PRO), ({"bbox_list": [[]]}, PRO))
        for parameters, model in wrong:
            bench.account.count(kind)
            bench.account.count("invalid")
            answer = create(model=model, messages=user({"text": "too much"}), **parameters)
            check_refused(answer, 400, "InvalidParameter")
        bench.account.count(kind)
        bench.account.count("invalid")
        check_refused(create(model="no-such-model", messages=user({"text": "x"})), 404, "ModelNotFound")
    yield "call, async_call: wrong parameters are refused with code, message and request id"

    for create, kind in kinds:
        bench.account.count(kind)
        check_refused(
            create(model=PRO, messages=user({"text": "x"}), n=1, api_key=WRONG_KEY), 401, "InvalidApiKey"
        )
    task_id = bench.account.task_ids()[0]
    for ask in (ImageGeneration.fetch, ImageGeneration.wait, ImageGeneration.cancel):
        check_refused(ask(task_id, api_key=WRONG_KEY), 401, "InvalidApiKey")
    check_refused(ImageGeneration.list(api_key=WRONG_KEY), 401, "InvalidApiKey")
    path = bench.folder / "unsent.png"
    path.write_bytes(pictures.png(600, 400, RED))
    try:
        ImageGeneration.call(
            model=PRO, messages=user({"image": path.as_uri()}, {"text": "x"}), api_key=WRONG_KEY
        )
        raise AssertionError("a file was uploaded with a wrong key")
    except UploadFileException as error:
        assert "InvalidApiKey" in str(error), error
    bench.account.count("wrong_keys", 7)
    yield "every call: a wrong key is refused with 401"


def listing(bench):
    # Newest first, and all of them, page by page.
    expected, listed, page_no = bench.account.task_ids()[::-1], [], 1
    while True:
        answer = ImageGeneration.list(page_no=page_no, page_size=4)
        check_ok(answer)
        page = answer.output
        pages = -(-len(expected) // 4)
        found = [page[name] for name in ("page_no", "page_size", "total", "total_page")]
        assert found == [page_no, 4, len(expected), pages], f"page {page_no} of {pages} says {found}"
        listed += page["data"]
        if page_no == page["total_page"]:
            break
        page_no += 1
    assert [task["task_id"] for task in listed] == expected, "the list is not what was created, newest first"
    assert not any("output" in task or "choices" in task for task in listed), "the list has results"
    yield "list: every task once over all pages, newest first"

    for state, count in (("CANCELED", 1), ("FAILED", 1), ("RUNNING", 0), ("SUCCEEDED", len(expected) - 2)):
        data = ImageGeneration.list(status=state, page_size=100).output["data"]
        assert [task["status"] for task in data] == [state] * count, f"{len(data)} tasks {state}"
    for model in (PRO, STANDARD):
        data = ImageGeneration.list(model_name=model, page_size=100).output["data"]
        wanted = [task["task_id"] for task in listed if task["model_name"] == model]
        assert wanted and [task["task_id"] for task in data] == wanted, f"{len(data)} tasks of {model}"
    yield "list: by state and by model"

    china = datetime.timezone(datetime.timedelta(hours=8))
    start = datetime.datetime.fromtimestamp(listed[-1]["gmt_create"] // 1000, china)
    day = [(start + datetime.timedelta(hours=hours)).strftime("%Y%m%d%H%M%S") for hours in (0, 24, 25)]
    data = ImageGeneration.list(start_time=day[0], end_time=day[1], page_size=100).output["data"]
    assert len(data) == len(expected), f"{len(data)} tasks in the window"
    check_refused(ImageGeneration.list(start_time=day[0], end_time=day[2]), 400, "InvalidParameter")
    yield "list: by a window of 24 hours, and not of more"


ALL = [text_to_image, editing, sets, local_files, waiting_and_cancelling, failing, refusals, listing]
