"""Work in a thread beside the sampling."""

import threading

import pytest

from longtake.video.background import Background


def test_calls_are_made_in_order_in_one_other_thread():
    made: list[tuple[int, int]] = []
    with Background() as background:
        for number in range(20):
            background.submit(lambda n=number: made.append((n, threading.get_ident())))
    assert [number for number, _ in made] == [*range(20)]
    threads = {thread for _, thread in made}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_no_more_calls_wait_than_asked_for():
    begun, proceed = threading.Semaphore(0), threading.Semaphore(0)

    def call() -> None:
        begun.release()
        proceed.acquire()

    with Background(most_waiting=2) as background:
        background.submit(call)
        background.submit(call)
        begun.acquire()
        third = threading.Thread(target=background.submit, args=(call,))
        third.start()
        assert not begun.acquire(timeout=0.05)
        for _ in range(3):
            proceed.release()
        third.join()


def test_an_error_of_a_call_is_raised_in_the_block():
    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), Background() as background:
        background.submit(fail)


def test_an_interrupted_block_drops_what_waits():
    made: list[int] = []
    hold = threading.Event()

    def interrupted() -> None:
        with Background(most_waiting=3) as background:
            background.submit(hold.wait)
            background.submit(made.append, 1)
            threading.Timer(0.05, hold.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert made == []
