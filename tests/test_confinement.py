"""A hostile model reaches nothing outside of its run; without confinement the same one does.

The probes of `hostile_probes` run inside the real command, and what they did is looked at from
outside. What this kernel lacks, if anything, is asked for by another road than the product's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from command import environment, files, sample_folder, shell

ROOT = Path(__file__).resolve().parents[1]
PROBES = ROOT / "tests" / "hostile_probes.py"
FILES = {"written", "changed", "removed", "secret"}
NETWORK = {"tcp", "udp", "service"}
OTHERS = {"program", "signal"}


def landlock():
    """Return the version of the kernel's Landlock, 0 if there is none, asked by hand."""
    version = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
    return max(version, 0)


class Victims:
    """A folder, three servers and a process that a model has no business with."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "profile").write_text("as it was\n")
        (folder / "precious").write_text("mine")
        (folder / "secret").write_text("the secret")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Its address may be short only, so it is bound where it lies.
        here = Path.cwd()
        os.chdir(folder)
        self.service.bind("service")
        os.chdir(here)
        self.service.listen()
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def environment(self):
        """Return what the probes must know."""
        ports = f"{self.tcp.getsockname()[1]} {self.udp.getsockname()[1]}"
        victims = os.path.relpath(self.folder)
        process = str(self.process.pid)
        return {"PROBES_VICTIMS": victims, "PROBES_PORTS": ports, "PROBES_PROCESS": process}

    def harm(self, work):
        """Return the names of the probes that had an effect."""
        done = {
            "written": (self.folder / "written").exists(),
            "changed": (self.folder / "profile").read_text() != "as it was\n",
            "removed": not (self.folder / "precious").exists(),
            "secret": (work / "secret.copy").exists(),
            "program": (work / "started.copy").exists(),
            "signal": self.process.poll() is not None or not self._waits(),
            "tcp": self._heard(self.tcp),
            "service": self._heard(self.service),
            "udp": self._received(),
        }
        return {name for name, happened in done.items() if happened}

    def close(self):
        """Let go of all of it."""
        for line in (self.tcp, self.udp, self.service):
            line.close()
        self.process.stdin.close()
        self.process.wait()

    def _waits(self):
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        return self.process.returncode is None

    def _heard(self, server):
        server.setblocking(False)
        with suppress(BlockingIOError):
            server.accept()[0].close()
            return True
        return False

    def _received(self):
        self.udp.setblocking(False)
        with suppress(BlockingIOError):
            return self.udp.recv(9) == b"udp"
        return False


@pytest.fixture
def victims(tmp_path, monkeypatch, samples):
    """Return the victims; the current folder is another one, with the sample models."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    sample_folder(samples)
    made = Victims(tmp_path / "victims")
    yield made
    made.close()


def extract(victims, *options, **more):
    """Run the command with the probes as its file of classes."""
    work = Path.cwd()
    arguments = ["cnn.keras", "-l", "3", "-i", "digits.npy", "-o", "out.h5", "--device", "cpu"]
    given = ["extract", *arguments, "--custom-objects", PROBES, *options]
    done = shell(*given, cwd=work, **victims.environment(), **more)
    assert done.code == 0, done
    return done, victims.harm(work)


def test_the_probes_act_when_nothing_is_confined(victims):
    """Each of the probes has its effect with --no-sandbox: they are worth stopping."""
    done, harm = extract(victims, "--no-sandbox")
    assert harm == FILES | NETWORK | OTHERS
    assert done.said == ""


def test_the_probes_are_stopped(victims):
    """None of them has an effect by default, and the output is as it should be."""
    done, harm = extract(victims)
    files_held, filtered = landlock() > 0, platform.machine() in ("x86_64", "aarch64")
    allowed = set() if files_held else set(FILES)
    allowed |= set() if landlock() >= 6 else {"signal"}
    allowed |= set() if filtered else (NETWORK - ({"tcp"} if landlock() >= 4 else set()))
    assert harm <= allowed
    assert ("note: this system cannot keep a model from" in done.stderr) != (
        files_held and (filtered or landlock() >= 4)
    )
    assert Path("out.h5").stat().st_size > 0


WITHOUT = {
    "landlock": "import layerprobe.confinement.landlock as l\nl.version = lambda: 0\n",
    "anything": "import layerprobe.confinement.landlock as l\nl.version = lambda: 0\n"
    "import layerprobe.confinement.seccomp as s\ns.known = lambda: False\n",
}


@pytest.fixture(params=WITHOUT)
def poorer(request, tmp_path):
    """Return what this system lacks, and the folder that makes the command believe it."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(WITHOUT[request.param])
    return request.param, str(shim)


def test_a_system_that_cannot_confine(victims, poorer):
    """The work is done, and one line says what was not kept from the model."""
    lacks, shim = poorer
    done, harm = extract(victims, PYTHONPATH=shim)
    lines = done.said.splitlines()
    what = "files" if lacks == "landlock" else "files, network, programs"
    assert lines[0].startswith(f"layerprobe: note: this system cannot keep a model from {what}. ")
    assert len(lines) == 1
    assert harm >= FILES
    if lacks == "landlock" and platform.machine() in ("x86_64", "aarch64"):
        assert harm == FILES | {"signal"}


def test_confinement_that_is_required(tmp_path, samples, poorer):
    """Where it cannot be had, --require-sandbox ends the run before the model is opened."""
    _, shim = poorer
    model = samples / "digits_cnn.keras"
    options = ["-l", "3", "--require-sandbox", "-o", tmp_path / "out" / "o.h5"]
    done = shell("extract", model, *options, cwd=tmp_path, PYTHONPATH=shim)
    assert (done.code, done.stdout) == (70, "")
    assert done.stderr.startswith("layerprobe: This system cannot keep a model from files")
    assert "Landlock" in done.stderr
    assert len(done.stderr.splitlines()) == 3
    both = shell("extract", model, *options, "--no-sandbox", cwd=tmp_path)
    assert both.code == 2
    assert "exclude each other" in both.stderr


def confined(code, cwd, reads=(), writes=(), **more):
    """Run some Python with the library's own call before it."""
    begin = f"from layerprobe.confinement import confine\nconfine(reads={list(map(str, reads))},"
    begin += f" writes={list(map(str, writes))})\n"
    command = [sys.executable, "-c", begin + code]
    done = subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


FORK = """
import os
if not os.fork():
    try:
        open("x/b")
    except OSError:
        os._exit(1)
    os._exit(0)
if os.wait()[1]:
    raise PermissionError
"""
THREAD = """
import threading
def look():
    try:
        open("x/b").close()
    except OSError as error:
        print(repr(error))
thread = threading.Thread(target=look)
thread.start()
thread.join()
"""
# What is done, with which reads and writes, and whether it is let through.
CASES = {
    "a file that was named": ("open('x/a').close()", ["x/a"], [], True),
    "a file beside it": ("open('x/b').close()", ["x/a"], [], False),
    "a link to one that was named": ("open('link').close()", ["x/a"], [], True),
    "a named link": ("open('x/a').close()", ["link"], [], True),
    "a file below a folder": ("open('x/b').close()", ["x"], [], True),
    "writing into a file to read": ("open('x/a', 'w').close()", ["x"], [], False),
    "cutting a file to read": ("import os; os.truncate('x/a', 0)", ["x"], [], False),
    "a new file": ("open('y/new', 'w').close()", [], ["y"], True),
    "another name": ("import os; os.rename('y/c', 'y/d')", [], ["y"], True),
    "moving a file out": ("import os; os.rename('y/c', 'x/c')", [], ["y"], False),
    "linking a file in": ("import os; os.link('x/a', 'y/a')", ["x"], ["y"], False),
    "a symbolic link": ("import os; os.symlink('/etc', 'y/e')", [], ["y"], False),
    "a new folder": ("import os; os.mkdir('y/f'); os.rmdir('y/f')", [], ["y"], True),
    "the users of the system": ("open('/etc/passwd').close()", [], [], False),
    "nowhere": ("open('/dev/null', 'w').close()", [], [], True),
    "the processors": ("open('/proc/cpuinfo').close()", [], [], True),
    "another's variables": (
        "import os; open(f'/proc/{os.getppid()}/environ').close()", [], [], False,
    ),
    "a pair of sockets": ("import socket; socket.socketpair()[0].close()", [], [], True),
    "a forked process": (FORK, [], [], False),
    "a thread begun later": (THREAD, [], [], False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_confined_process_may_do(tmp_path, case):
    """Each access is let through or refused as the arguments of `confine` say."""
    code, reads, writes, may = CASES[case]
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    for name in ("x/a", "x/b", "y/c"):
        (tmp_path / name).write_text("content")
    (tmp_path / "link").symlink_to("x/a")
    told = confined(code, tmp_path, reads, writes)
    refused = "PermissionError" in told or "Invalid cross-device link" in told
    assert refused == (not may and landlock() > 0), told
    assert refused or not told
    assert not refused or files(tmp_path) == ["link", "x", "x/a", "x/b", "y", "y/c"]
    assert not refused or (tmp_path / "x" / "a").read_text() == "content"


SHADOWS = ["numpy.py", "click.py", "keras_hub/__init__.py", "keras.py"]


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": ""}, {"PYTHONPATH": "."}])
@pytest.mark.parametrize("command", ["list-layers", "extract"])
def test_the_current_folder_is_not_imported_from(tmp_path, samples, command, variables):
    """Files with the names of packages, beside a model that was downloaded, stay unread."""
    for name in SHADOWS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("open('ran', 'w').write(__name__)\nraise SystemExit(9)")
    options = ["-l", "3", "-o", "o.h5", "--no-sandbox"] if command == "extract" else []
    if options and variables != {"PYTHONPATH": "."}:
        options += ["--dtype", "int4"]  # refused when all is imported but the engine
    done = shell(command, samples / "digits_cnn.keras", *options, cwd=tmp_path, **variables)
    assert done.code == (2 if "int4" in options else 0), done
    assert not (tmp_path / "ran").exists()
