"""pyproject.toml, constraints.txt, the Makefile and CI say the same thing as what is installed."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
}


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_dependency_is_bounded_on_both_sides_and_its_pin_lies_within(requirement: Requirement) -> None:
    operators = {part.operator for part in requirement.specifier}
    assert operators == {"=="} or operators == {">=", "<"}
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_no_pin_carries_a_local_version_tag() -> None:
    assert PINS["torch"] == "2.13.0"
    assert not [pin for pin in PINS.values() if "+" in pin]


def test_what_is_installed_is_what_is_pinned_down_to_the_last_dependency() -> None:
    todo, seen = list(DIRECT), set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        extras = ("", *requirement.extras)
        if key in seen or not _applies(requirement, ("",)):
            continue
        seen.add(key)
        installed = importlib.metadata.distribution(requirement.name)
        if key[0] in PINS:  # torch's CUDA libraries are pinned by torch itself
            assert installed.version.partition("+")[0] == PINS[key[0]], requirement.name
        else:
            assert key[0].startswith(("nvidia-", "cuda-", "triton")), f"{requirement.name} is not in constraints.txt"
        for text in installed.requires or ():
            child = Requirement(text)
            if _applies(child, extras):
                child.marker = None
                todo.append(child)


def _applies(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z-]+):.*## \S", makefile, flags=re.MULTILINE))
    assert targets == {"help", "setup", "demo", "test", "test-fast", "check", "bench"}


def test_ci_runs_the_tests_then_the_checks() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make")] == ["make test", "make check"]
