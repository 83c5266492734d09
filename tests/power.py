"""Power cuts: what a disk may hold after one, made from a record of all calls that changed it.

What was synced is there. Of anything else written to a file, each 4 KiB block is there or not, by
chance; so is its size. Names change in their order, but from some moment on they did not, unless
their folder was synced. (Files that are synced get no name by that: POSIX does not promise it.)
"""

from __future__ import annotations

from pathlib import Path

_BLOCK = 4096


class PowerCut:
    """The disk of a run whose power is cut after some of its steps.

    Args:
        steps: Of `faults.Disk`: what was done to which path, with what.
        folder: What all paths are below.
    """

    def __init__(self, steps, folder):
        self._folder = folder
        self._names = {}  # path -> inode, as the running system saw it
        self._changes = []  # of names: [function, folder, durable]
        self._inodes = {}  # inode -> [[function, durable]]
        for name, path, given in steps:
            getattr(self, f"_{name}")(path.relative_to(folder), *given)

    def restore(self, folder, chance):
        """Make a folder what is found when the power is back."""
        open_changes = [change for change in self._changes if not change[2]]
        kept = int(chance.integers(len(open_changes) + 1))
        lost = {id(change) for change in open_changes[kept:]}
        names = {}
        for change in self._changes:
            if id(change) not in lost:
                change[0](names)
        for path, inode in sorted(names.items()):
            place = folder / path
            if not place.parent.is_dir():  # its folder has lost its name, and so nobody finds it
                continue
            if inode == "folder":
                place.mkdir()
                continue
            content = bytearray()
            for write, durable in self._inodes[inode]:
                write(content, (lambda: True) if durable else (lambda: chance.random() < 0.5))
            place.write_bytes(content)

    def _inode(self, path):
        if path not in self._names:
            inode = len(self._inodes)
            self._inodes[inode] = []
            self._change(path.parent, lambda names: names.__setitem__(path, inode))
        return self._inodes[self._names[path]]

    def _change(self, folder, function):
        function(self._names)
        self._changes.append([function, folder, False])

    def _pwrite(self, path, data, place):
        def write(content, kept):
            edges = [place, *range(place // _BLOCK * _BLOCK + _BLOCK, place + len(data), _BLOCK)]
            for at, end in zip(edges, [*edges[1:], place + len(data)], strict=True):
                if kept():
                    content.extend(bytes(max(0, end - len(content))))
                    content[at:end] = data[at - place : end - place]

        self._inode(path).append([write, False])

    def _ftruncate(self, path, size):
        def write(content, kept):
            if kept():
                content.extend(bytes(max(0, size - len(content))))
                del content[size:]

        self._inode(path).append([write, False])

    def _posix_fallocate(self, path, _, size):
        def write(content, kept):
            if kept():
                content.extend(bytes(max(0, size - len(content))))

        self._inode(path).append([write, False])

    def _fsync(self, path):
        if path == Path() or self._names.get(path) == "folder":
            for change in self._changes:
                change[2] = change[2] or change[1] == path
        else:
            for write in self._inode(path):
                write[1] = True

    def _mkdir(self, path, *_):
        if path != Path() and path not in self._names:
            self._change(path.parent, lambda names: names.__setitem__(path, "folder"))

    def _rmdir(self, path):
        self._unlink(path)

    def _unlink(self, path):
        if path in self._names:
            self._change(path.parent, lambda names: names.pop(path, None))

    def _replace(self, path, target):
        new = Path(target).relative_to(self._folder)

        def move(names):
            for old in [p for p in names if p == path or path in p.parents]:
                names[new / old.relative_to(path)] = names.pop(old)

        self._change(new.parent, move)
