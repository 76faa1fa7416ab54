"""What tests of exports share; each file has its own `played`, an environment after its last step."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="module")
def exported(played, tmp_path_factory):
    """The folder of an export, and its heads."""
    folder = tmp_path_factory.mktemp("export")
    return folder, played.export(folder)


@pytest.fixture
def copy(exported, tmp_path):
    """Another copy of it, to be edited."""
    return shutil.copytree(exported[0], tmp_path / "copy")
