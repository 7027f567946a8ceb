"""Asks the server of warm_start for a process, without any import that takes long."""

import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import NoReturn

PREFIXES = ("PYTHON", "LD_", "MPL", "OMP_", "MKL_", "OPENBLAS_", "ATEN_", "CUDA")
"""What variables begin with that libraries read when they are imported."""

PROGRAMS = {"dvc": "dvc", "torchrun": "torch.distributed.run"}
"""Programs that a fork may be, and the module that they run."""


def surroundings(variables: Mapping[str, str]) -> list[object]:
    """Return what a process has from its start on; a fork of the server has that of the server."""
    settings = {name: value for name, value in variables.items() if name.startswith(PREFIXES)}
    if "LOCAL_RANK" in variables:
        settings.pop("OMP_NUM_THREADS", None)  # by torchrun: a fork does as it says
    limits = [list(resource.getrlimit(number)) for number in range(16)]
    return [settings, limits]


def ask(folder: str, bin_folder: str) -> NoReturn:
    """Be a program: what the server has forked, or where it cannot, the program itself."""
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]  # noqa: PTH119 (pathlib is slow)
    asked = ["-m", PROGRAMS[name], *arguments] if name in PROGRAMS else arguments
    option, module, *_ = [*asked[asked[:1] == ["-u"] :], "", ""]
    is_known = module in PROGRAMS.values() or module.startswith(("stages.", "commands."))
    with open(f"{folder}/surroundings.json") as file:  # noqa: PTH123
        as_the_server = json.load(file) == surroundings(os.environ)
    server = socket.socket(socket.AF_UNIX)
    try:
        if option != "-m" or not is_known or not as_the_server or os.path.exists("matplotlibrc"):  # noqa: PTH110
            raise ConnectionError
        server.connect(f"{folder}/server")
    except OSError:
        program = f"{bin_folder}/{name}"
        os.execv(program, [program, *arguments])  # noqa: S606
    request = [module, asked[asked.index(module) :], os.getcwd(), os.umask(0), dict(os.environ)]  # noqa: PTH109
    socket.send_fds(server, [b" "], [0, 1, 2])
    server.sendall(f"{json.dumps(request)}\n".encode())
    pid = _number_from(server)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    status = _number_from(server)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _number_from(server: socket.socket) -> int:
    (number,) = struct.unpack("i", server.recv(4, socket.MSG_WAITALL))
    return int(number)
