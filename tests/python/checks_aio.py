"""The same calls through the SDK's asyncio classes, which have another HTTP client, other headers, other paths."""

import asyncio

from dashscope import close_shared_aio_session
from dashscope.aigc.image_generation import AioImageGeneration

import pictures
from bench import K1_OF_3_TO_2, PRO, STANDARD, check_ok, check_refused, check_state, user


def with_asyncio(bench):
    return asyncio.run(_all(bench))


async def _all(bench):
    try:
        return [line async for line in _checks(bench)]
    finally:
        await close_shared_aio_session()


async def _checks(bench):
    messages = user({"text": "a lighthouse, asynchronously"})
    answer = bench.called(await AioImageGeneration.call(model=PRO, messages=messages, size="1K", n=1))
    bench.check_called(answer, 1, (1024, 1024))
    yield "asyncio call: text-to-image"

    link = bench.upload("asyncio.png", pictures.png(600, 400, (20, 40, 200)))
    messages = user({"image": link}, {"text": "colder"})
    created = bench.async_called(
        await AioImageGeneration.async_call(model=PRO, messages=messages, size="1K", n=2)
    )
    bench.check_waited(created, await AioImageGeneration.wait(created), 2, K1_OF_3_TO_2)
    yield "asyncio async_call, wait: editing a file:// input"

    messages = user({"text": "four lighthouses, asynchronously"})
    created = await AioImageGeneration.async_call(
        model=STANDARD, messages=messages, enable_sequential=True, n=4, size="1K"
    )
    bench.async_called(created)
    bench.check_waited(created, await AioImageGeneration.fetch(created), 4, (1024, 1024), in_one_choice=True)
    yield "asyncio async_call, fetch: image set"

    tasks = []
    for text in ("an hour of work, asynchronously", "an hour of work behind it, asynchronously"):
        messages = user({"text": text})
        created = await AioImageGeneration.async_call(model=STANDARD, messages=messages, size="1K", n=1)
        tasks.append(bench.async_called(created))
    running, pending = tasks
    check_refused(await AioImageGeneration.cancel(running), 400, "UnsupportedOperation")
    check_ok(await AioImageGeneration.cancel(pending))
    check_state(await AioImageGeneration.fetch(pending), "CANCELED", "submit_time", "end_time")
    bench.account.ended(pending.request_id, "CANCELED")
    yield "asyncio cancel: PENDING yes, RUNNING no"

    answer = await AioImageGeneration.list(status="RUNNING", page_size=100)
    check_ok(answer)
    listed = [task["task_id"] for task in answer.output["data"]]
    assert listed == [running.output.task_id], f"{len(listed)} tasks are RUNNING"
    bench.simulator.advance(3_600)
    bench.check_waited(running, await AioImageGeneration.wait(running), 1, (1024, 1024))
    yield "asyncio list: by state"


ALL = [with_asyncio]
