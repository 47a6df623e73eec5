"""Calls in several threads."""

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

# Seconds after which the waiting thread looks whether Ctrl-C was pressed.
PATIENCE = 0.1


def side_by_side(function, tasks, n_threads, stop):
    """Call a function of each task, several at once.

    Parameters
    ----------
    function : callable
        Takes a task, and looks at `stop` now and then.
    tasks : list
        The tasks, which begin in this order.
    n_threads : int
        Threads at most; with one the calls are made in this thread, one after the other.
    stop : threading.Event
        Set if a call fails, or Ctrl-C is pressed, so that the others end; the exception reaches the caller after that.
    """
    n_threads = min(n_threads, len(tasks))
    if n_threads <= 1:
        for task in tasks:
            function(task)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(function, task) for task in tasks]
        try:
            pending = futures
            while pending:
                done, pending = wait(pending, timeout=PATIENCE, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
