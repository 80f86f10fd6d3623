"""Run as a program: a router opened and used before it forks, as gunicorn does with preload, over real HTTP.

``python -m tests.forking ROUTING CHILDREN THREADS CALLS``: every process asks from several threads and from an event
loop, and each answer must be the one to its own question. Exits with 0 when all did.
"""

import asyncio
import os
import sys
import threading
import warnings
from pathlib import Path

from router_core import Router


def ask(router: Router, name: str) -> None:
    answer = router.complete("x.extract", messages=[{"role": "user", "content": name}], run=name)
    assert answer.text == name, (name, answer.text)


async def ask_on_a_loop(router: Router, names: list[str]) -> None:
    messages = [[{"role": "user", "content": name}] for name in names]
    calls = [router.acomplete("x.extract", messages=each, run=each[0]["content"]) for each in messages]
    answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == names


def serve(router: Router, who: str, threads: int, calls: int) -> int:
    """Ask from threads and an event loop at once; return how many of them failed."""
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for call in range(calls):
                ask(router, f"{who}-{number}-{call}")
        except BaseException as error:  # noqa: BLE001 - told to the parent by the exit status
            failed.append(error)

    def loop() -> None:
        try:
            asyncio.run(ask_on_a_loop(router, [f"{who}-loop-{call}" for call in range(calls)]))
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    working = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    working.append(threading.Thread(target=loop))
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    for error in failed:
        sys.stderr.write(f"{who}: {error!r}\n")
    return len(failed)


def main(routing: Path, children: int, threads: int, calls: int) -> int:
    warnings.simplefilter("ignore")
    router = Router.open(routing)
    serve(router, "before", threads, 2)  # its connections, threads and caches are warm when it forks
    busy = threading.Thread(target=serve, args=(router, "meanwhile", threads, calls))
    busy.start()
    pids: list[int] = []
    for child in range(children):
        pid = os.fork()
        if pid == 0:
            failed = serve(router, f"child{child}", threads, calls)
            router.close()
            os._exit(1 if failed else 0)
        pids.append(pid)
    busy.join()
    failed = serve(router, "after", threads, calls)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    router.close()
    return 1 if failed or any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
