"""Processes that begin with their libraries imported: forks of one that waits for them.

Most of what a stage takes for a small table is the import of PyTorch, scikit-learn and pandas. A
folder with a `python` and a `dvc` of its own, first in PATH, asks a server for each process: a fork
of the server, with the arguments, variables, folder and streams of the asking process, which runs
the code of the project at hand. Signals and the exit status are passed on, and whoever kills the
asking process kills the fork. What a fork cannot take over starts as always: see `ask`.
"""

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
from contextlib import suppress
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    *("torch", "onnx", "optuna", "pandas", "pyarrow.parquet", "scipy.optimize", "scipy.stats"),
    *("sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.preprocessing"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2", "markdown_it", "openpyxl"),
    *("pydantic", "ruamel.yaml", "tqdm", "psutil", "threadpoolctl", "pyarrow.pandas_compat"),
    *("dvc.cli.parser", "dvc.repo", "dvc.analytics", "dvc.cachemgr", "dvc.stage.cache", "networkx"),
    *("scmrepo.git", "dvc_data.hashfile.db.local", "sympy"),
)

PROGRAM = """#!{python} -IS
import sys
sys.path.insert(0, {tests!r})
from warm_start_client import ask
ask({folder!r}, {bin_folder!r})
"""


def start_server(folder: Path) -> subprocess.Popen[bytes]:
    """Start the server, and write the programs that ask it into `folder`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/server")
    listener.listen(64)
    (folder / "surroundings.json").write_text(json.dumps(surroundings()))
    program = PROGRAM.format(
        python=sys.executable,
        tests=str(Path(__file__).parent),
        folder=str(folder),
        bin_folder=str(Path(sys.executable).parent),
    )
    for name in ("python", "dvc"):
        (folder / name).write_text(program)
        (folder / name).chmod(0o700)
    with listener:
        return subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())], pass_fds=[listener.fileno()]
        )


def next_to_run(listener: socket.socket) -> str:
    """Serve until the process that has started this one ends; return in each fork its module."""
    parent = os.getppid()
    for library in LIBRARIES:
        import_module(library)
    gc.collect()
    # Else the first collection in each fork would copy all that they share.
    gc.freeze()
    while os.getppid() == parent:
        # What forks have taken counts as this process's, once they are waited for.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([listener], [], [], 0.5)[0]:
            continue
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                return fork_for(connection)
    sys.exit()


def fork_for(connection: socket.socket) -> str:
    """Fork for the asking process, and pass on how the fork ends; return in the fork."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        module, arguments, folder, variables, umask = json.loads(file.readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.umask(umask)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace")
        sys.path[0], sys.argv = folder, arguments
        return str(module)
    for stream in streams:
        os.close(stream)
    connection.sendall(struct.pack("i", pid))
    process = os.pidfd_open(pid)
    if process not in select.select([process, connection.fileno()], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        connection.sendall(struct.pack("i", status))
    os._exit(0)


if __name__ == "__main__":
    runpy.run_module(
        next_to_run(socket.socket(fileno=int(sys.argv[1]))), run_name="__main__", alter_sys=True
    )
else:
    from tests.warm_start_client import surroundings
