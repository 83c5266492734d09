"""Reading ahead and writing behind: order, overlap, bounds, and failures that are never lost."""

from __future__ import annotations

import threading

import pytest

from layerprobe.stages import Behind, ahead, blocks, reads, reads_ahead, started

PATIENCE = 30.0  # seconds until a thread that should be running counts as missing


def test_blocks_are_whole_batches_and_cover_all_rows_once() -> None:
    """Every row lies in one block, and only the last block may end within a batch."""
    for rows, size, row_bytes in [((0, 1), 1, 0), ((3, 1000), 7, 5000), ((0, 64), 64, 10**9)]:
        found = blocks(rows, size, row_bytes)
        covered = [row for start, stop in found for row in range(start, stop)]
        assert covered == list(range(*rows))
        assert all((start - rows[0]) % size == 0 for start, _ in found)


def test_one_read_is_of_whole_blocks_and_of_few_rows() -> None:
    """However small the rows are beside what becomes of them, memory and delay stay bounded."""
    for size, inputs, both in [(32, 64, 65_600), (1, 8, 10**6), (7, 0, 1), (64, 10**9, 10**9)]:
        rows, at_once = (5, 50_000), reads((5, 50_000), size, inputs, both)
        assert [row for start, stop in at_once for row in range(start, stop)] == [*range(*rows)]
        assert all((start - rows[0]) % size == 0 for start, _ in at_once)
        step = at_once[0][1] - at_once[0][0]
        assert step == size or step * inputs <= 1 << 20
        assert step == size or step * both <= 16 << 20


def test_large_reads_do_not_wait_in_numbers() -> None:
    """What waits is no more than 8 MiB, or a single read."""
    for size in (0, 1, 4 << 20, 5 << 20, 8 << 20, 16 << 20, 10**10):
        assert 1 <= reads_ahead(size) <= 4
        assert reads_ahead(size) * size <= max(8 << 20, size)


@pytest.mark.parametrize("depth", [1, 3])
def test_reads_the_next_items_while_the_last_is_used(depth: int) -> None:
    """So many items are worked on ahead, one after another, and no more."""
    items = range(depth + 2)
    begun = {item: threading.Event() for item in items}
    ended: list[int] = []

    def work(item: int) -> int:
        assert ended == [*range(item)]
        begun[item].set()
        ended.append(item)
        return item * 10

    found = ahead(work, items, depth)
    assert next(found) == (0, 0)
    assert begun[depth].wait(PATIENCE)
    assert not begun[depth + 1].is_set()  # not all
    assert list(found) == [(item, item * 10) for item in items[1:]]


def test_works_on_several_items_side_by_side() -> None:
    """As many as there are threads, in any order of their ends; they come in the order of items."""
    begun = {item: threading.Event() for item in range(4)}
    second_is_done = threading.Event()

    def work(item: int) -> int:
        begun[item].set()
        if item == 0:
            assert second_is_done.wait(PATIENCE)
        if item == 1:
            second_is_done.set()
        return item * 10

    found = started(work, range(4), threads=2, depth=2)
    item, result = next(found)
    assert (item, result()) == (0, 0)
    assert begun[2].wait(PATIENCE)
    assert not begun[3].is_set()
    assert [(item, result()) for item, result in found] == [(1, 10), (2, 20), (3, 30)]


def test_an_error_ahead_comes_in_its_turn() -> None:
    """What came before the error is not lost."""

    def work(item: int) -> int:
        if item == 1:
            raise ValueError("row 1 is bad")
        return item

    found = ahead(work, [0, 1, 2])
    assert next(found) == (0, 0)
    with pytest.raises(ValueError, match="row 1"):
        next(found)


def test_works_behind_in_order() -> None:
    """The caller goes on at once; the pieces keep their order."""
    go, done = threading.Event(), []

    def work(item: int) -> None:
        assert go.wait(PATIENCE)
        done.append(item)

    with Behind(work) as write:
        write(0)  # returns though the work cannot end yet
        go.set()
        write(1)
        write(2)
    assert done == [0, 1, 2]


def test_an_error_behind_is_raised_by_the_next_piece_or_at_the_end() -> None:
    """No failure is lost, also not the last piece's."""

    def work(item: int) -> None:
        raise OSError(f"piece {item}")

    with Behind(work) as write:
        write(0)
        with pytest.raises(OSError, match="piece 0"):
            write(1)
    with pytest.raises(OSError, match="piece 5"), Behind(work) as write:
        write(5)


def test_an_error_of_the_caller_is_not_hidden_by_one_behind() -> None:
    """The first cause is what is raised."""

    def work() -> None:
        raise OSError("behind")

    with pytest.raises(KeyboardInterrupt), Behind(work) as write:  # noqa: PT012 - what is tested
        write()
        raise KeyboardInterrupt


def test_several_pieces_wait_and_no_more() -> None:
    """With room for three, the fourth is handed over only when the first is done."""
    go, done, handed = threading.Event(), [], []

    def work(item: int) -> None:
        assert go.wait(PATIENCE)
        done.append(item)

    def hand_over() -> None:
        for item in range(4):
            write(item)
            handed.append(item)
            third.set() if item == 2 else None

    third = threading.Event()
    with Behind(work, depth=3) as write:
        caller = threading.Thread(target=hand_over)
        caller.start()
        assert third.wait(PATIENCE)
        caller.join(0.2)
        assert (handed, done) == ([0, 1, 2], [])
        go.set()
        caller.join(PATIENCE)
    assert handed == done == [0, 1, 2, 3]


def test_nothing_that_waits_is_begun_after_a_failure() -> None:
    """What comes after lost rows must not be written; the first failure is the one that counts."""
    go, begun = threading.Event(), []

    def work(item: int) -> None:
        assert go.wait(PATIENCE)
        begun.append(item)
        raise OSError(f"piece {item}")

    write = Behind(work, depth=5)
    for item in range(4):
        write(item)
    go.set()
    with pytest.raises(OSError, match="piece 0"), write:
        pass
    assert begun == [0]
