"""What a hostile model might do, harmlessly: run as a user's file of classes, inside `extract`.

Each probe reaches for something outside of what the command was given: the victims' folder, two
ports that the test listens at, this machine's processes. What came of it the test sees from
outside, in the files and at the ports; a probe that is stopped goes on to the next one.
"""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

VICTIMS = Path(os.environ["PROBES_VICTIMS"])
TCP, UDP = (int(port) for port in os.environ["PROBES_PORTS"].split())


def write_a_file():
    """Put a program where others start it."""
    (VICTIMS / "written").write_text("here")


def change_a_file():
    """Add a line to a file of the user's."""
    with (VICTIMS / "profile").open("a") as file:
        file.write("changed\n")


def remove_a_file():
    """Remove a file of the user's."""
    (VICTIMS / "precious").unlink()


def take_a_secret():
    """Copy a secret to where the output goes."""
    Path("secret.copy").write_text((VICTIMS / "secret").read_text())


def connect_a_socket():
    """Send a word to a server."""
    with socket.create_connection(("127.0.0.1", TCP), timeout=5) as line:
        line.sendall(b"tcp")


def send_a_packet():
    """Send a packet to a server, as a name of a host to be looked up would be one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"udp", ("127.0.0.1", UDP))


def ask_a_service():
    """Give an order to a service of this machine, as containers and desktops have them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(VICTIMS / "service"))
        line.sendall(b"order")


def start_a_program():
    """Let another program do it."""
    subprocess.run(["/bin/sh", "-c", "echo here > started.copy"], check=True)


def signal_a_process():
    """Send a signal to a process outside."""
    os.kill(int(os.environ["PROBES_PROCESS"]), signal.SIGTERM)


for probe in (write_a_file, change_a_file, remove_a_file, take_a_secret, connect_a_socket,
              send_a_packet, ask_a_service, start_a_program, signal_a_process):  # fmt: skip
    with contextlib.suppress(Exception):
        probe()
