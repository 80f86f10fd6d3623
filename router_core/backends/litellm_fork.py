"""What a forked child must not take over from its parent's litellm: connections, and threads that it does not have.

A connection that two processes write to gives one the other's answers. litellm's logging pool believes that its threads
live, and one of its locks may be held by a thread that does not exist in the child.
"""

import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

# the parent's clients: never closed here, for closing says goodbye to the provider on the parent's connection
_LEFT_ALONE: Final[list[object]] = []


def renew_after_fork(client: Any) -> None:
    """Give litellm in a forked child clients and threads of its own; runs while the child has a single thread.

    Args:
        client: The litellm module.
    """
    cache = getattr(client, "in_memory_llm_clients_cache", None)
    for name in ("cache_dict", "ttl_dict", "expiration_heap"):
        held = getattr(cache, name, None)
        if held is not None:
            _LEFT_ALONE.append(held)
            setattr(cache, name, type(held)())
    loaded = cast("MutableMapping[str, object]", vars(client))
    for name in ("module_level_client", "module_level_aclient"):  # made anew when first asked for
        _LEFT_ALONE.append(loaded.pop(name, None))
    pool = getattr(getattr(client.litellm_core_utils, "thread_pool_executor", None), "executor", None)
    if isinstance(pool, ThreadPoolExecutor):
        _renew_pool(pool)


def _renew_pool(pool: ThreadPoolExecutor) -> None:
    """Put a pool back into the state that it was made in: several modules hold it by name."""
    state: MutableMapping[str, Any] = vars(pool)
    state.update(vars(ThreadPoolExecutor(max_workers=state["_max_workers"])))
    if "_pending_slots" in state:
        state["_pending_slots"] = threading.Semaphore(state["_max_pending_tasks"])
        state["_drop_lock"] = threading.Lock()
