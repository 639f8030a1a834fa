"""What all tests share."""

from fake_nvml.fixtures import _driver_of_this_process, fake_node, fake_nvml, nvml_here

__all__ = ["_driver_of_this_process", "fake_node", "fake_nvml", "nvml_here"]
