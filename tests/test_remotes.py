"""Data and models shared through a remote: a folder, or storage that speaks S3's protocol."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import QUICK_TRAINING, Project
from tests.readme import commands

FOLDER = ("docs/sharing.md", "A folder")
S3 = ("docs/sharing.md", "Amazon S3, or what speaks its protocol")


@pytest.fixture
def two_results(ahead_of_git: Project) -> Project:
    """A project whose last two commits have different results."""
    ahead_of_git.commit("another learning rate")
    return ahead_of_git


@pytest.fixture
def s3_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Storage that speaks S3's protocol, on this machine, with a bucket of the page's name."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="my-bucket")
    yield address
    server.stop()


def test_a_folder(two_results: Project, tmp_path: Path) -> None:
    project = two_results
    add, commit, push = commands(*FOLDER, block=0)
    assert "/mnt/shared/iris" in add
    for command in (add.replace("/mnt/shared/iris", str(tmp_path / "storage")), commit):
        project.run("sh", "-c", command)
    project.set_params(**QUICK_TRAINING)
    assert project.repro() == []
    project.commit("back to the learning rate before")
    project.run("sh", "-c", push)
    clone = check_second_clone(project, tmp_path / "second" / "project")

    clone.run("git", "checkout", "-q", "HEAD~1")
    clone.run("sh", "-c", commands(*FOLDER, block=1)[0])
    assert clone.repro() == []
    assert clone.outputs() != project.outputs()
    clone.run("git", "checkout", "-q", "main")

    # An experiment goes to where the clone came from, and its data to the storage.
    project.run("git", "remote", "add", "origin", str(tmp_path / "bare"))
    project.run("git", "clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    project.dvc("exp", "run", "--name", "grid-3", "-S", "plot.dpi=60")
    (send,) = commands(*FOLDER, block=2)
    project.run("sh", "-c", send)
    clone.dvc("exp", "pull", str(tmp_path / "bare"), "grid-3")
    clone.dvc("exp", "apply", "grid-3")
    assert clone.outputs() == project.outputs()


def test_storage_that_speaks_s3(two_results: Project, tmp_path: Path, s3_address: str) -> None:
    project = two_results
    install, add, modify = commands(*S3, block=0)
    assert install == f"pip install 'dvc[s3]=={version('dvc')}' -c constraints.txt"
    assert "https://s3.example.com" in modify
    _, commit, push = commands(*FOLDER, block=0)
    for command in (add, modify.replace("https://s3.example.com", s3_address), commit):
        project.run("sh", "-c", command)
    project.run("sh", "-c", f"{push} --run-cache")
    clone = check_second_clone(project, tmp_path / "second" / "project", "--run-cache")

    # DVC takes no stage whose metrics or plots git holds from the run cache of another clone.
    clone.run("git", "rm", "-q", "dvc.lock")
    assert "Running stage 'prepare'" in clone.dvc("repro", "prepare")


def check_second_clone(project: Project, path: Path, *options: str) -> Project:
    path.parent.mkdir()
    project.run("git", "clone", "-q", str(project.path), str(path))
    clone = Project(path)
    assert not list(clone.path.glob("models/*.pt"))
    pull, repro = commands(*FOLDER, block=1)
    clone.run("sh", "-c", " ".join([pull, *options]))
    assert "Running stage" not in clone.run("sh", "-c", repro).stdout
    assert clone.outputs() == project.outputs()
    return clone
