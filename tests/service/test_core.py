"""Requests share the networks: batches of faces, limits of pixels."""

import asyncio

import numpy as np
import pytest
from waiting import PATIENT_S

from app.network_thread import NetworkThread, ShutDownError
from app.service.core import MAX_DECODED_MP, MAX_FACES_IN_BATCH, Admission, EmbeddingBatcher, OneRequest
from app.service.http import HttpError


class Embedder:
    """Numbers instead of a network: the embedding of a face is its first pixel."""

    def __init__(self):
        self.batches = []

    def __call__(self, crops):
        self.batches.append(len(crops))
        return crops[:, 0, 0, :1].astype(np.float32), np.ones(len(crops), np.float32)


def faces(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 3), np.uint8)


def test_faces_of_all_requests_that_wait_are_one_batch():
    networks, embed = NetworkThread(), Embedder()
    batcher = EmbeddingBatcher(networks, embed)
    waiting = [batcher.submit(faces(1)), batcher.submit(faces(2, 3)), batcher.submit(faces(4))]
    while networks.run_pending():
        pass
    assert embed.batches == [4]
    assert [future.result()[0][:, 0].tolist() for future in waiting] == [[1], [2, 3], [4]]


def test_a_batch_is_limited_so_that_video_does_not_wait():
    networks, embed = NetworkThread(), Embedder()
    batcher = EmbeddingBatcher(networks, embed)
    waiting = [batcher.submit(faces(*range(20))) for _ in range(4)]
    while networks.run_pending():
        pass
    assert embed.batches == [20, 20, 20, 20]
    assert max(embed.batches) <= MAX_FACES_IN_BATCH
    assert all(future.done() for future in waiting)


def test_an_error_reaches_every_request_of_the_batch():
    def fail(crops):
        raise RuntimeError("out of memory")

    networks = NetworkThread()
    batcher = EmbeddingBatcher(networks, fail)
    waiting = [batcher.submit(faces(1)), batcher.submit(faces(2))]
    while networks.run_pending():
        pass
    for future in waiting:
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result()


def test_requests_that_wait_when_the_networks_close_are_told():
    networks = NetworkThread()
    batcher = EmbeddingBatcher(networks, Embedder())
    waiting = [batcher.submit(faces(1)), batcher.submit(faces(2))]
    networks.close()
    for future in waiting:
        with pytest.raises(ShutDownError):
            future.result(timeout=PATIENT_S)


def test_a_request_that_was_given_up_takes_no_other_with_it():
    networks, embed = NetworkThread(), Embedder()
    batcher = EmbeddingBatcher(networks, embed)
    given_up, waiting = batcher.submit(faces(1)), batcher.submit(faces(2))
    given_up.cancel()
    while networks.run_pending():
        pass
    assert waiting.result(timeout=0)[0].tolist() == [[2]]
    assert embed.batches == [1]


def test_the_networks_close_while_a_request_was_given_up():
    networks = NetworkThread()
    batcher = EmbeddingBatcher(networks, Embedder())
    given_up, waiting = batcher.submit(faces(1)), batcher.submit(faces(2))
    given_up.cancel()
    networks.close()
    with pytest.raises(ShutDownError):
        waiting.result(timeout=0)


def test_pictures_beyond_the_limit_are_turned_away_until_others_are_done():
    async def scenario():
        admission = Admission(max_megapixels=1)
        async with admission.of(800_000):
            with pytest.raises(HttpError) as refused:
                async with admission.of(300_000):
                    pass
            assert refused.value.status == 503
            assert int(refused.value.headers["Retry-After"]) >= 1
            async with admission.of(200_000):
                assert admission.megapixels == pytest.approx(1)
        async with admission.of(300_000):
            pass
        assert admission.megapixels == 0

    asyncio.run(scenario())


def test_one_picture_above_the_limit_is_done_if_nothing_else_is():
    async def scenario():
        async with Admission(max_megapixels=1).of(5_000_000):
            pass

    asyncio.run(scenario())


def test_pictures_of_a_request_that_has_begun_wait_instead_of_being_turned_away():
    async def scenario():
        admission, own, order, done = Admission(max_megapixels=1), OneRequest(), [], {}

        async def work(name, request):
            async with admission.of(600_000, request):
                order.append(name)
                done[name] = asyncio.get_running_loop().create_future()
                await done[name]

        async def settle():
            for _ in range(10):
                await asyncio.sleep(0)

        running = [asyncio.ensure_future(work(name, own)) for name in ("first", "given up", "last")]
        await settle()
        with pytest.raises(HttpError):
            await work("another request", OneRequest())
        running[1].cancel()
        assert order == ["first"]
        done["first"].set_result(None)
        await settle()
        assert order == ["first", "last"]
        done["last"].set_result(None)
        await asyncio.gather(*running, return_exceptions=True)
        assert admission.megapixels == 0

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_pictures_wait_in_order_until_those_before_are_out_of_memory():
    async def scenario():
        admission, order, done = Admission(max_megapixels=1000), [], {}

        async def work(name, megapixels):
            async with admission.of(int(megapixels * 1e6)):
                order.append(name)
                done[name] = asyncio.get_running_loop().create_future()
                await done[name]

        def start(name, megapixels):
            return asyncio.ensure_future(work(name, megapixels))

        async def settle():
            for _ in range(10):
                await asyncio.sleep(0)

        running = [start("first", MAX_DECODED_MP - 1), start("large", 20), start("given up", 1), start("small", 1)]
        await settle()
        assert order == ["first"], "a small picture does not overtake a large one"
        running[2].cancel()
        done["first"].set_result(None)
        await settle()
        assert order == ["first", "large", "small"]
        for name in ("large", "small"):
            done[name].set_result(None)
        await asyncio.gather(*running, return_exceptions=True)
        assert admission.megapixels == 0
        async with admission.of(100):
            pass

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize("cancelled", [(), (0,), (1,), (0, 1), (2,)])
def test_whoever_gives_up_waiting_passes_the_turn_on(cancelled):
    async def scenario():
        admission, entered = Admission(max_megapixels=1000), []
        full = int(MAX_DECODED_MP * 1e6)

        async def work(name):
            async with admission.of(full):
                entered.append(name)

        release = asyncio.get_running_loop().create_future()

        async def hold():
            async with admission.of(full):
                await release

        holder = asyncio.ensure_future(hold())
        waiting = [asyncio.ensure_future(work(name)) for name in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        release.set_result(None)
        for name in cancelled:
            waiting[name].cancel()
        await asyncio.gather(holder, *waiting, return_exceptions=True)
        assert entered == [name for name in range(3) if name not in cancelled]
        assert admission.megapixels == 0

    asyncio.run(asyncio.wait_for(scenario(), 30))
