"""Calls in threads: all of them, in order, until one fails."""

import threading

import pytest

from sklearn_dgm._training.side_by_side import side_by_side


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_all_tasks_are_done(n_threads):
    done = []
    side_by_side(done.append, list(range(20)), n_threads, threading.Event())
    assert sorted(done) == list(range(20))
    side_by_side(done.append, [], n_threads, threading.Event())


def test_one_thread_is_this_thread():
    threads = []
    side_by_side(lambda _: threads.append(threading.current_thread()), [0, 1], 1, None)
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_a_failure_stops_the_others(error):
    stop, begun = threading.Event(), []

    def work(task):
        begun.append(task)
        if task == 1:
            raise error
        assert stop.wait(60)

    with pytest.raises(error):
        side_by_side(work, [0, 1, 2, 3, 4, 5], 2, stop)
    assert stop.is_set()
    assert 5 not in begun
