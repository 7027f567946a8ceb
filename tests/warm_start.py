"""Processes that begin with their libraries imported: forks of one that waits for them.

Most of what a stage takes for a small table is the import of PyTorch, scikit-learn and pandas. A
folder with programs of its own, first in PATH, asks a server for each process: a fork of the
server, with the arguments, variables, folder and streams of the asking process, which runs the code
of the project at hand. Signals and the exit status are passed on, and whoever kills the asking
process kills the fork. What a fork cannot take over starts as always: see `ask`.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    *("torch", "onnx", "optuna", "pandas", "pyarrow.parquet", "scipy.optimize", "scipy.stats"),
    *("sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.preprocessing"),
    *(
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "jinja2",
        "markdown_it",
        "python_calamine",
    ),
    *("pydantic", "ruamel.yaml", "tqdm", "psutil", "threadpoolctl", "pyarrow.pandas_compat"),
    *("dvc.cli.parser", "dvc.repo", "dvc.analytics", "dvc.cachemgr", "dvc.stage.cache", "networkx"),
    *("scmrepo.git", "dvc_data.hashfile.db.local", "torch._dynamo", "torch.distributed.run"),
)

PROGRAM = """#!{python} -IS
import sys
sys.path.insert(0, {tests!r})
from warm_start_client import ask
ask({folder!r}, {bin_folder!r})
"""


def start_server(folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start the server with variables of its own; write the programs that ask it into `folder`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/server")
    listener.listen(64)
    with_own = {**os.environ, **variables}
    with_own.pop("LD_PRELOAD", None)
    (folder / "surroundings.json").write_text(json.dumps(surroundings(with_own)))
    program = PROGRAM.format(
        python=sys.executable,
        tests=str(Path(__file__).parent),
        folder=str(folder),
        bin_folder=str(Path(sys.executable).parent),
    )
    for name in ("python", *PROGRAMS):
        (folder / name).write_text(program)
        (folder / name).chmod(0o700)
    with listener:
        return subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), f"{folder}/python"],
            env={**os.environ, **variables},
            pass_fds=[listener.fileno()],
        )


def serve(listener: socket.socket) -> None:
    """Fork for each process that asks, until the process that has started this one ends."""
    parent = os.getppid()
    for library in LIBRARIES:
        import_module(library)
    gc.collect()
    # Else the first collection in each fork would copy all that they share.
    gc.freeze()
    asking: dict[int, tuple[int, socket.socket]] = {}
    while os.getppid() == parent:
        streams = [each.fileno() for _, each in asking.values()]
        ready = select.select([listener.fileno(), *asking, *streams], [], [], 0.5)[0]
        for process, (pid, connection) in list(asking.items()):
            if connection.fileno() in ready and process not in ready:
                os.kill(pid, signal.SIGKILL)  # as the process that has asked
            if connection.fileno() in ready or process in ready:
                # What a fork has taken counts as this process's, once it is waited for.
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(OSError), connection:
                    connection.sendall(struct.pack("i", status))
                os.close(process)
                del asking[process]
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            pid = fork_for(connection)
            connection.sendall(struct.pack("i", pid))
            asking[os.pidfd_open(pid)] = pid, connection


def fork_for(connection: socket.socket) -> int:
    """Fork, and become what was asked for in the fork; return its number."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        module, arguments, folder, umask, variables = json.loads(file.readline())
    pid = os.fork()
    if pid > 0:
        for stream in streams:
            os.close(stream)
        return pid
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(streams) + 100)
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.path[0], sys.argv = folder, arguments
    sys.executable = sys.orig_argv[-1]
    if {"LOCAL_RANK", "OMP_NUM_THREADS"} <= set(variables):
        import_module("torch").set_num_threads(int(variables["OMP_NUM_THREADS"]))
    os._exit(status_of(module))


def status_of(module: str) -> int:
    """Run a module as a program, and what is to run at its end; return its exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status: object = 0
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    # Not the rest of an exit: to take to pieces all that was imported takes long.
    atexit._run_exitfuncs()  # noqa: SLF001
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    return status if isinstance(status, int) else 1


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
else:
    from tests.warm_start_client import PROGRAMS, surroundings
