"""What a forked child must not take over from its parent's litellm."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from router_core.backends.litellm_fork import renew_after_fork


class Bounded(ThreadPoolExecutor):
    """A pool as newer versions have it."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._max_pending_tasks = 3
        self._pending_slots = threading.Semaphore(0)
        self._drop_lock = threading.Lock()
        self._drop_lock.acquire()


def make_client(pool: object) -> Any:
    cache = SimpleNamespace(cache_dict={"key": "client"}, ttl_dict={"key": 1}, expiration_heap=[(1, "key")])
    modules = SimpleNamespace(thread_pool_executor=SimpleNamespace(executor=pool))
    client: Any = SimpleNamespace(
        litellm_core_utils=modules, in_memory_llm_clients_cache=cache, module_level_client="x"
    )
    return client


def test_clients_are_left_to_the_parent() -> None:
    client = make_client(None)
    renew_after_fork(client)
    cache = client.in_memory_llm_clients_cache
    assert (cache.cache_dict, cache.ttl_dict, cache.expiration_heap) == ({}, {}, [])
    assert not hasattr(client, "module_level_client")


def test_pool_that_thinks_its_threads_live_works_again() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(int).result(10)
        lost: Any = pool
        threads = list(lost._threads)
        lost._shutdown_lock.acquire()  # held by a thread that the child does not have
        lost._idle_semaphore.release()
        renew_after_fork(make_client(pool))
        assert pool.submit(int, "7").result(10) == 7
        assert not set(threads) & set(lost._threads)


def test_bounded_pool_has_all_its_places_again() -> None:
    pool: Any = Bounded()
    renew_after_fork(make_client(pool))
    assert [pool._pending_slots.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]
    assert not pool._drop_lock.locked()
    assert pool.submit(int, "7").result(10) == 7
    pool.shutdown()


def test_client_without_these_parts_is_left_as_it_is() -> None:
    client: Any = SimpleNamespace(litellm_core_utils=SimpleNamespace())
    renew_after_fork(client)
