"""Work beside the inspection outlives its failures, and says so."""

from edge.monitoring.background_worker import MOST_FAILURES, BackgroundWorker
from tests.fakes import eventually


def test_a_thing_that_fails_is_told_and_the_next_one_is_taken():
    taken, failed = [], []

    def take(number):
        if number == 1:
            raise KeyError(number)
        taken.append(number)

    work = BackgroundWorker("test", take, failed.append)
    for number in range(3):
        work.put(number)
    work.close(5)
    assert taken == [0, 2]
    assert [str(error) for error in failed] == ["1"]


def test_work_that_only_fails_ends_and_keeps_nothing_more():
    failed = []

    def take(number):
        raise KeyError(number)

    work = BackgroundWorker("test", take, failed.append)
    for number in range(MOST_FAILURES):
        work.put(number)
    assert eventually(lambda: len(failed) == MOST_FAILURES)
    work._thread.join(5)
    work.put(0)
    assert work.waiting == 0
