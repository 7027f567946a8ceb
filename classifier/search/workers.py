"""Who makes the tries: this process, or several."""

import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.synchronize import Semaphore

from optuna import Study

from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.search.searching import Search, work
from classifier.training.device import select_device

SECONDS_BETWEEN_LOOKS = 0.5
"""At what the workers have done."""


def work_alone(search: Search, n_tries: int, after_each: Callable[[Study], None]) -> None:
    left = iter(range(n_tries))
    work(search, 0, lambda: next(left, None) is not None, after_each)


def work_together(search: Search, n_tries: int, look: Callable[[], None]) -> None:
    """Let several processes work, and look at it now and then.

    If this one is killed, they end with the tries that are under way.

    Raises
    ------
    UserError
        If one of them was killed.

    """
    # A forked process has its imports; one that is to use CUDA must not be forked.
    forks = sys.platform == "linux" and select_device(search.train.device).type == "cpu"
    context = get_context("fork") if forks else get_context("spawn")
    tries_left = context.Semaphore(n_tries)
    workers = [
        context.Process(target=_worker, args=(search, number, tries_left))
        for number in range(search.n_workers)
    ]
    for worker in workers:
        worker.start()
    try:
        while at_work := [worker.sentinel for worker in workers if worker.is_alive()]:
            wait(at_work, SECONDS_BETWEEN_LOOKS)
            look()
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise UserError(
            "a worker was killed, or has ended as it says above; the tries that have ended are "
            "kept, and the same command goes on from there"
        )


def _worker(search: Search, number: int, tries_left: Semaphore) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def takes_one() -> bool:
        return parent is not None and parent.is_alive() and tries_left.acquire(block=False)

    with user_errors_in_one_line("search"):
        work(search, number, takes_one, lambda _study: None)
