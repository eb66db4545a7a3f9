"""One process at a time holds a lock, and it ends with the process."""

import multiprocessing
import os
import signal
import time

from edge.core.files.file_lock import file_lock


def hold(path, held):
    with file_lock(path):
        held.set()
        time.sleep(60)


def test_a_killed_holder_leaves_the_lock_free_and_the_next_was_told_to_wait(tmp_path):
    path, waits = tmp_path / "a.lock", []
    context = multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    held = context.Event()
    holder = context.Process(target=hold, args=(path, held))
    holder.start()
    assert held.wait(20)

    def told():
        waits.append(True)
        os.kill(holder.pid, signal.SIGKILL)

    with file_lock(path, told):
        assert waits == [True]
    holder.join(20)


def test_a_free_lock_is_taken_at_once_and_again_after_it(tmp_path):
    waits = []
    for _ in range(2):
        with file_lock(tmp_path / "a.lock", lambda: waits.append(True)):
            pass
    assert waits == []
