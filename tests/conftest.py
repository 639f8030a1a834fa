"""What all tests share."""

import pytest

from fake_nvml.fixtures import _driver_of_this_process, fake_node, fake_nvml, nvml_here

__all__ = ["_driver_of_this_process", "fake_node", "fake_nvml", "nvml_here"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever compares with golden files through the fixture of that name is chosen by `make golden`, too."""
    for item in items:
        if isinstance(item, pytest.Function) and "golden" in item.fixturenames:
            item.add_marker("golden")
