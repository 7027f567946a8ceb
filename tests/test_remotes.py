"""Data and models shared through a remote: a folder, or storage that speaks S3's protocol."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import REPOSITORY, Project
from tests.readme import commands

HEADING = "Share data and models"


@pytest.fixture(scope="module")
def two_results(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose last commit has one result, and whose run cache has another too."""
    project = _trained.copy(tmp_path_factory.mktemp("results") / "project")
    project.set_params(train__lr=0.4)
    project.repro()
    project.run("git", "checkout", "-q", ".")
    assert project.repro() == []
    return project


@pytest.fixture
def s3_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Storage that speaks S3's protocol, on this machine, with a bucket of the README's name."""
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
    project = two_results.copy(tmp_path / "first" / "project")
    folder = tmp_path / "storage"
    add, commit, push = commands(HEADING, block=0)
    assert "/mnt/shared/iris" in add
    for command in (add.replace("/mnt/shared/iris", str(folder)), commit, push):
        project.run("sh", "-c", command)
    assert any(folder.rglob("runs"))
    check_second_clone(project, tmp_path / "second" / "project")


def test_storage_that_speaks_s3(two_results: Project, tmp_path: Path, s3_address: str) -> None:
    project = two_results.copy(tmp_path / "first" / "project")
    install, add, modify = commands(HEADING, block=2)
    assert install == f"pip install 'dvc[s3]=={pinned_version('dvc')}'"
    assert "https://s3.example.com" in modify
    _, commit, push = commands(HEADING, block=0)
    for command in (add, modify.replace("https://s3.example.com", s3_address), commit, push):
        project.run("sh", "-c", command)
    check_second_clone(project, tmp_path / "second" / "project")


def check_second_clone(project: Project, path: Path) -> None:
    path.parent.mkdir()
    project.run("git", "clone", "-q", str(project.path), str(path))
    clone = Project(path)
    assert not list(clone.path.glob("models/*.pt"))
    pull, repro = commands(HEADING, block=1)
    clone.run("sh", "-c", pull)
    assert "Running stage" not in clone.run("sh", "-c", repro).stdout
    assert clone.outputs() == project.outputs()
    # The other result comes from the run cache.
    clone.set_params(train__lr=0.4)
    assert clone.repro() == []
    assert clone.outputs() != project.outputs()


def test_a_clone_without_the_run_cache_runs_nothing_either(
    two_results: Project, tmp_path: Path
) -> None:
    project = two_results.copy(tmp_path / "first" / "project")
    project.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    project.commit("a remote")
    project.dvc("push")
    path = tmp_path / "second" / "project"
    path.parent.mkdir()
    project.run("git", "clone", "-q", str(project.path), str(path))
    clone = Project(path)
    clone.dvc("pull")
    assert clone.repro() == []
    assert clone.outputs() == project.outputs()


def pinned_version(package: str) -> str:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    (version,) = [line.split("==")[1] for line in lines if line.startswith(f"{package}==")]
    return version
